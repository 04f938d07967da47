// How a rule runs over the elements of a tensor, with what is common to all rules folded into the same pass.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

#include "kernel.hpp"
#include "loop/lanes.hpp"
#include "prefetch.hpp"
#include "rules/arithmetic.hpp"
#include "rules/rules.hpp"

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

// The first element from `begin` on that starts a cache line: an access across two lines costs twice.
template <class V>
std::int64_t line_start(const V* array, std::int64_t begin) {
  constexpr std::uintptr_t line = 64;
  const auto address = reinterpret_cast<std::uintptr_t>(array + begin);
  return begin + std::int64_t((line - address % line) % line / sizeof(V));
}

template <class V, std::size_t>
using Repeat = V;

template <class F, class V, std::size_t... state>
constexpr bool writes_parameter(std::index_sequence<state...>) {
  return !std::is_invocable_v<const F&, V, V, Repeat<V&, state>...>;
}

// The weight decay for what does not write the parameter.
constexpr Decay without_shrinking(Decay decay) { return decay == Decay::decoupled ? Decay::none : decay; }

// The states of which the loop passes each element to a rule, and which of them are scratch.
template <bool... is_scratch>
struct Scratch {};

template <class Rule, std::size_t... state>
Scratch<(Rule::states.items[state].kind == StateKind::scratch)...> scratch_of(std::index_sequence<state...>);

// The elements of a tensor, for functions of a parameter, its gradient and its states. The arrays never overlap:
// bindings/ has made sure of it.
template <class V, Decay decay, class States, class Scratch>
class Elements;

template <class V, Decay decay, std::size_t... state, bool... is_scratch>
class Elements<V, decay, std::index_sequence<state...>, Scratch<is_scratch...>> {
 public:
  Elements(const Coefficients& coefficients, const Arrays& arrays)
      : scale_(V(coefficients.gradient_scale)),
        c_(V(coefficients.decay_coefficient)),
        parameter_(static_cast<V*>(arrays.parameter)),
        gradient_(static_cast<const V*>(arrays.gradient)),
        states_{static_cast<V*>(arrays.states[state])..., nullptr},
        ahead_(std::uintptr_t(arrays.ahead)) {
    static_assert(sizeof...(state) <= max_states, "raise max_states");
  }

  const V* parameter() const { return parameter_; }

  // Fetches what comes some time after the elements [i, i + lanes), where that gains something. Past the end another
  // thread's part begins, or the next tensor.
  RAVINE_INLINE void expect_after(std::int64_t i) const {
    if (ahead_ == 0) return;
    const std::uintptr_t arrays[] = {reinterpret_cast<std::uintptr_t>(parameter_),
                                     reinterpret_cast<std::uintptr_t>(gradient_),
                                     reinterpret_cast<std::uintptr_t>(states_[state])...};
    for (const std::uintptr_t array : arrays)
      prefetch_lines(array + std::uintptr_t(i) * sizeof(V) + ahead_, lanes * sizeof(V));
  }

  // Calls f for element i, and stores what f takes by reference. Only what writes the parameter shrinks it first.
  template <class F>
  RAVINE_INLINE auto call(const F& f, std::int64_t i) const {
    constexpr bool writes_parameter = ravine::writes_parameter<F, V>(std::index_sequence<state...>());
    constexpr bool writes_states = !std::is_invocable_v<const F&, V&, V, Repeat<V, state>...>;
    V p = parameter_[i];
    V g = scale_ * gradient_[i];
    if constexpr (decay == Decay::coupled) g += c_ * p;
    if constexpr (decay == Decay::decoupled && writes_parameter) p -= c_ * p;
    return [&](auto... s) {
      const auto store = [&] {
        // A running mean of a gradient that has become 0 would end among the subnormals and stay there, where each
        // operation takes a hundred cycles and more.
        if constexpr (writes_states) ((states_[state][i] = is_scratch ? s : flush_(s)), ...);
        if constexpr (writes_parameter) parameter_[i] = p;
      };
      if constexpr (std::is_void_v<decltype(f(p, g, s...))>) {
        f(p, g, s...);
        store();
      } else {
        const auto result = f(p, g, s...);
        store();
        return result;
      }
    }(states_[state][i]...);
  }

 private:
  V scale_, c_;
  V* parameter_;
  const V* gradient_;
  V* states_[sizeof...(state) + 1];
  std::uintptr_t ahead_;
};

template <class Rule, class V, Decay decay, class States = std::make_index_sequence<Rule::states.size>>
using ElementsOf = Elements<V, decay, States, decltype(scratch_of<Rule>(States()))>;

// Of a rule whose states are not one an element, the loop passes none.
template <class V, Decay decay>
using StatelessElements = Elements<V, decay, std::index_sequence<>, Scratch<>>;

// Calls f for each element.
template <class Elements, class F>
RAVINE_INLINE void for_elements(const Elements& elements, std::int64_t begin, std::int64_t end, const F& f) {
  constexpr std::int64_t few = 1 << 10;  // where further loops cost more than they gain
  const std::int64_t first = end - begin < few ? end : line_start(elements.parameter(), begin);
  const std::int64_t last = first + (end - first) / lanes * lanes;
  for (std::int64_t i = first; i < last; i += lanes) {
    elements.expect_after(i);
#pragma omp simd
    for (std::int64_t j = 0; j < lanes; ++j) elements.call(f, i + j);
  }
  const std::int64_t ends[][2] = {{begin, first}, {last, end}};
  for (const auto& [from, to] : ends) {
#pragma omp simd
    for (std::int64_t i = from; i < to; ++i) elements.call(f, i);
  }
}

// What a rule does to each element.
template <template <class> class Rule, class V, Decay decay>
void update(const Coefficients& coefficients, const Arrays& arrays, std::int64_t begin, std::int64_t end) {
  const Rule<V> rule = rounded<Rule<V>, V>(coefficients.rule);
  for_elements(ElementsOf<Rule<V>, V, decay>(coefficients, arrays), begin, end, rule);
}

template <class Rule>
struct Proposing {
  const Rule& rule;

  template <class... Values>
  RAVINE_INLINE auto operator()(Values&&... values) const
      -> decltype(std::declval<const Rule&>().propose(std::forward<Values>(values)...)) {
    return rule.propose(std::forward<Values>(values)...);
  }
};

// The direction that it puts into scratch.
template <template <class> class Rule, class V, Decay decay>
void propose(const Coefficients& coefficients, const Arrays& arrays, std::int64_t begin, std::int64_t end) {
  const Rule<V> rule = rounded<Rule<V>, V>(coefficients.rule);
  for_elements(ElementsOf<Rule<V>, V, decay>(coefficients, arrays), begin, end, Proposing<Rule<V>>{rule});
}

template <class Rule>
struct Measuring {
  const Rule& rule;

  template <class... Values>
  RAVINE_INLINE auto operator()(Values&&... values) const
      -> decltype(std::declval<const Rule&>().measure(std::forward<Values>(values)...)) {
    return rule.measure(std::forward<Values>(values)...);
  }
};

// What it sums up over them, and does on the way.
template <template <class> class Rule, class V, Decay decay>
void measure(const Coefficients& coefficients, const Arrays& arrays, std::int64_t begin, std::int64_t end) {
  const Rule<V> rule = rounded<Rule<V>, V>(coefficients.rule);
  const ElementsOf<Rule<V>, V, decay> elements(coefficients, arrays);
  const Measuring<Rule<V>> terms{rule};
  struct Expecting {  // unlike a lambda's, its call can be inlined early: see prefetch.hpp
    const ElementsOf<Rule<V>, V, decay>& elements;
    std::int64_t start;

    RAVINE_INLINE void operator()(std::int64_t i) const { elements.expect_after(start + i); }
  };
  for (std::int64_t start = begin; start < end; start += elements_per_sum) {
    const std::int64_t left = end - start;
    LaneSums sums;
    sums.add(
        left < elements_per_sum ? left : elements_per_sum,
        [&](std::int64_t i, int j) { return elements.call(terms, start + i + j); }, Expecting{elements, start});
    arrays.sums[start / elements_per_sum] = sums.total();
  }
}

template <template <class> class Rule, class V, Decay decay>
constexpr RuleKernels elementwise() {
  RuleKernels kernels{};
  if constexpr (Proposes<Rule<V>>::value) kernels.propose = propose<Rule, V, without_shrinking(decay)>;
  if constexpr (Measures<Rule<V>>::value) {
    constexpr bool writes = writes_parameter<Measuring<Rule<V>>, V>(std::make_index_sequence<Rule<V>::states.size>());
    constexpr Decay of_measure = writes ? decay : without_shrinking(decay);
    kernels.measure = measure<Rule, V, of_measure>;
  }
  if constexpr (Updates<Rule<V>>::value) kernels.update = update<Rule, V, decay>;
  return kernels;
}

}  // namespace
}  // namespace ravine
