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

template <NormTerm kind>
RAVINE_INLINE double norm_term(double g, double power) {
  if constexpr (kind == NormTerm::square) return g * g;
  if constexpr (kind == NormTerm::power) return std::pow(absolute(g), power);
  return absolute(g);
}

// The terms of n elements together: added up in lanes, or the greatest of them.
template <NormTerm kind, class V>
double norm_terms_of_block(const V* from, V factor, double power, std::int64_t n) {
  double together[lanes] = {};
  double sum[lanes];  // which the compiler keeps in registers
  for (int j = 0; j < lanes; ++j) sum[j] = 0;
  for_lanes(n, [&](std::int64_t i, int j) {
    const double term = norm_term<kind>(double(factor * from[i + j]), power);
    sum[j] = kind == NormTerm::greatest ? greater_or_nan(term, sum[j]) : sum[j] + term;
  });
  for (int j = 0; j < lanes; ++j) together[j] = sum[j];
  if constexpr (kind == NormTerm::greatest) {
    for (int j = 1; j < lanes; ++j) together[0] = greater_or_nan(together[j], together[0]);
  } else {
    add_pairs(together);
  }
  return together[0];
}

template <NormTerm kind, class V>
void norm_terms(const void* gradient, double factor, double power, std::int64_t begin, std::int64_t end,
                SumPair* sums) {
  const V* const from = static_cast<const V*>(gradient);
  const V f = V(factor);
  for (std::int64_t start = begin; start < end; start += elements_per_sum) {
    const std::int64_t n = min_(elements_per_sum, end - start);
    SumPair& sum = sums[start / elements_per_sum];
    sum = {norm_terms_of_block<kind>(from + start, f, power, n), 0};
    if (sum.first - sum.first == 0) continue;  // what is not finite would show in it
    for (std::int64_t i = start; i < start + n; ++i) {
      const V g = f * from[i];
      sum.second += g - g == 0 ? 0 : 1;
    }
  }
}

}  // namespace
}  // namespace ravine
