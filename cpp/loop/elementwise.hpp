// How a rule runs over the elements of a tensor, with what is common to all rules folded into the same pass.
#pragma once

#include <cstring>
#include <utility>

#include "loop/kernel.hpp"
#include "rules/arithmetic.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

template <class Rule, class V>
Rule rounded(const double* coefficients) {
  constexpr int count = sizeof(Rule) / sizeof(V);
  static_assert(count <= max_rule_coefficients, "raise max_rule_coefficients");
  V fields[count];
  for (int i = 0; i < count; ++i) fields[i] = V(coefficients[i]);
  Rule rule;
  std::memcpy(&rule, fields, sizeof rule);
  return rule;
}

// The first element from `begin` on that starts a cache line: an access across two lines costs twice. On few elements a
// second loop costs more.
template <class V>
std::int64_t line_start(const V* array, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t few = 1 << 12;
  constexpr std::uintptr_t line = 64;
  if (end - begin < few) return begin;
  const auto address = reinterpret_cast<std::uintptr_t>(array + begin);
  return begin + std::int64_t((line - address % line) % line / sizeof(V));
}

template <class Rule, class V, Decay decay, std::size_t... state>
void run(const Coefficients& coefficients, const Arrays& arrays, std::int64_t begin, std::int64_t end,
         std::index_sequence<state...>) {
  static_assert(sizeof...(state) <= max_states, "raise max_states");
  const Rule rule = rounded<Rule, V>(coefficients.rule);
  const V scale = V(coefficients.gradient_scale);
  const V c = V(coefficients.decay);
  V* const parameter = static_cast<V*>(arrays.parameter);
  const V* const gradient = static_cast<const V*>(arrays.gradient);
  V* const states[] = {static_cast<V*>(arrays.states[state])..., nullptr};

  const std::int64_t bounds[] = {begin, line_start(parameter, begin, end), end};
  for (int piece = 0; piece < 2; ++piece) {
    // The arrays never overlap: bindings/ has made sure of it.
#pragma omp simd
    for (std::int64_t i = bounds[piece]; i < bounds[piece + 1]; ++i) {
      V p = parameter[i];
      V g = scale * gradient[i];
      if constexpr (decay == Decay::coupled) g += c * p;
      if constexpr (decay == Decay::decoupled) p -= c * p;
      [&](auto... s) {
        rule(p, g, s...);
        // A running mean of a gradient that has become 0 would end among the subnormals and stay there, where each
        // operation takes a hundred cycles and more.
        ((states[state][i] = flush_(s)), ...);
      }(states[state][i]...);
      parameter[i] = p;
    }
  }
}

template <template <class> class Rule, class V, Decay decay>
void elementwise(const Coefficients& coefficients, const Arrays& arrays, std::int64_t begin, std::int64_t end) {
  run<Rule<V>, V, decay>(coefficients, arrays, begin, end, std::make_index_sequence<Rule<V>::states.size>());
}

}  // namespace
}  // namespace ravine
