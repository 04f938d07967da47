// What is done to gradients beside the rule.
#pragma once

#include "loop/lanes.hpp"
#include "rules/arithmetic.hpp"
#include "stages/kernels.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

template <class V>
void unscale(const void* memory, std::int64_t n, double factor, void* block) {
  const V* const from = static_cast<const V*>(memory);
  V* const to = static_cast<V*>(block);
  const V f = V(factor);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) to[i] = f * from[i];
}

template <class V>
void set_zero(const void* /*block*/, std::int64_t n, void* memory) {
  V* const to = static_cast<V*>(memory);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) to[i] = 0;
}

template <class V>
void add_squares(const void* gradient, double factor, std::int64_t begin, std::int64_t end, SumPair* sums) {
  const V* const from = static_cast<const V*>(gradient);
  const V f = V(factor);
  for (std::int64_t start = begin; start < end; start += elements_per_sum) {
    LaneSums of_block;
    of_block.add(min_(elements_per_sum, end - start), [&](std::int64_t i, int j) {
      const V g = f * from[start + i + j];
      const double square = double(g) * double(g);
      return SumPair{square, g - g == 0 ? 0. : 1.};
    });
    sums[start / elements_per_sum] = of_block.total();
  }
}

}  // namespace
}  // namespace ravine
