// What is done to gradients beside the rule.
#pragma once

#include "rules/arithmetic.hpp"
#include "stages/kernels.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

// What is NaN stays so.
template <class V>
void limit(const void* memory, std::int64_t n, const Stage& stage, void* block) {
  const V* const from = static_cast<const V*>(memory);
  V* const to = static_cast<V*>(block);
  const V factor = V(stage.factor), most = V(stage.limit);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const V g = factor * from[i];
    const V low = g < -most ? -most : g;
    to[i] = low > most ? most : low;
  }
}

template <class V>
void set_zero(const void* /*block*/, std::int64_t n, const Stage& /*stage*/, void* memory) {
  V* const to = static_cast<V*>(memory);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) to[i] = 0;
}

}  // namespace
}  // namespace ravine
