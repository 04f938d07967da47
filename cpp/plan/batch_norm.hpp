// Batch normalisation of a whole array, forward and backward. Knows nothing of Python.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/normalization.hpp"

namespace ravine {

// What the backward pass needs of the forward pass, for each channel: y = (x - mean) scale + shift before what is
// fused, where inv = 1 / sqrt(variance + eps), scale = weight inv and shift = bias.
struct BatchNormSaved {
  std::vector<double> mean, inv, scale, shift;
};

// The groups of the shape are the channels. Arrays have its dtype; a null pointer stands for "none".
struct BatchNormForward {
  GroupedShape shape;
  Fused fused;
  const void *x, *z;
  const void *weight, *bias;
  void *running_mean, *running_var;
  bool training;    // whether to use, and average into the running ones, the statistics of x
  double momentum;  // how much of the running statistics is replaced
  double eps;
  void* y;
  std::uint16_t* mask;  // of Fused::add_relu
};

struct BatchNormBackward {
  GroupedShape shape;
  Fused fused;
  const void *dy, *x;
  std::uint16_t* mask;  // of Fused::add_relu
  bool training;
  void *dx, *dz;
  void *weight_gradient, *bias_gradient;  // which are added to
};

BatchNormSaved run(const BatchNormForward& work);
void run(const BatchNormBackward& work, const BatchNormSaved& saved);

}  // namespace ravine
