// Gradients without an optimizer: their norm, and clipping in place. Knows nothing of Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernel.hpp"

namespace ravine {

struct Gradient {
  void* data;
  Dtype dtype;
  std::int64_t start, size;  // of its elements in the run of all
};

struct GradientNorm {
  double norm;
  std::vector<std::size_t> nonfinite;  // the gradients that have such elements
};

// The p-norm of all together, p above 0: with the bits that a plan finds.
GradientNorm norm_of(const std::vector<Gradient>& gradients, double p);

// Multiplies all by a factor, and cuts each element off at -limit and limit.
void clip(const std::vector<Gradient>& gradients, double factor, double limit);

}  // namespace ravine
