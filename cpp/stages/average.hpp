// Averages of the weights.
#pragma once

#include "stages/kernels.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

// torch's lerp: from the nearer end, so that a factor of 1 gives p itself.
template <class V>
void average(const void* block, std::int64_t n, const Stage& stage, void* memory) {
  const V* const p = static_cast<const V*>(block);
  V* const a = static_cast<V*>(memory);
  const V factor = V(stage.factor), rest = 1 - factor;
  if (factor == 1) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) a[i] = p[i];
  } else if (factor < V(0.5)) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) a[i] += factor * (p[i] - a[i]);
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) a[i] = p[i] - (p[i] - a[i]) * rest;
  }
}

}  // namespace
}  // namespace ravine
