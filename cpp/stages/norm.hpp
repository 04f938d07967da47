// The terms of norms of gradients.
#pragma once

#include <cmath>

#include "loop/lanes.hpp"
#include "rules/arithmetic.hpp"
#include "stages/kernels.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

RAVINE_INLINE double absolute(double g) { return g < 0 ? -g : g; }

// NaN where either is.
RAVINE_INLINE double greater_or_nan(double a, double b) { return a > b || a != a ? a : b; }

// The greatest term instead of the sum.
struct LaneGreatest {
  double greatest[lanes] = {};
  double counts[lanes] = {};

  template <class Terms, class... Ahead>
  void add(std::int64_t n, const Terms& terms, const Ahead&... ahead) {
    for_lanes(
        n,
        [&](std::int64_t i, int j) {
          const SumPair pair = terms(i, j);
          greatest[j] = greater_or_nan(pair.first, greatest[j]);
          counts[j] += pair.second;
        },
        ahead...);
  }

  SumPair total() {
    for (int j = 1; j < lanes; ++j) greatest[0] = greater_or_nan(greatest[j], greatest[0]);
    add_pairs(counts);
    return {greatest[0], counts[0]};
  }
};

template <NormTerm kind>
RAVINE_INLINE double norm_term(double g, double power) {
  if constexpr (kind == NormTerm::square) return g * g;
  if constexpr (kind == NormTerm::power) return std::pow(absolute(g), power);
  return absolute(g);
}

template <NormTerm kind, class V>
void norm_terms(const void* gradient, double factor, double power, std::int64_t begin, std::int64_t end,
                SumPair* sums) {
  const V* const from = static_cast<const V*>(gradient);
  const V f = V(factor);
  for (std::int64_t start = begin; start < end; start += elements_per_sum) {
    std::conditional_t<kind == NormTerm::greatest, LaneGreatest, LaneSums> of_block;
    of_block.add(min_(elements_per_sum, end - start), [&](std::int64_t i, int j) {
      const V g = f * from[start + i + j];
      return SumPair{norm_term<kind>(double(g), power), g - g == 0 ? 0. : 1.};
    });
    sums[start / elements_per_sum] = of_block.total();
  }
}

}  // namespace
}  // namespace ravine
