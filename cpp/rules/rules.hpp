// What an update rule is; families.def lists all of them. A rule is a struct of coefficients over a value type V:
//   name           what Python calls it
//   states         the arrays it keeps beside each parameter: one value an element, one_a_row or one_a_column; or
//                  scratch, of which nothing is kept from step to step
//   decays         the weight decays that it may be combined with
//   RAVINE_HYPER   the names of its hyper-parameters
//   prepare        its coefficients in double, from the hyper-parameters and the step number t = 1, 2, ...
//   operator()     the update of one element: parameter, gradient, states in their order
//   sparse         true where an element without a gradient stays as it is, states and all, so that whole rows can be
//                  left out; not mentioned otherwise
//   is_factored    true where it keeps one_a_row and one_a_column: the loop is loop/factored.hpp's
// Only + - * / sqrt_ abs_, comparisons and choices are used, each exact or exactly rounded, so that every instruction
// set computes the same bits. All coefficients are of type V.
//
// What follows from t and the hyper-parameters of this step alone needs no memory. A rule whose coefficients depend on
// those of earlier steps, which may have been others, names the numbers that it carries from step to step:
//   carries        what Python calls them; a double each, for each parameter
// and its prepare takes them as a third argument, which holds what the last step left, and leaves what the next one
// needs. At t = 1 there was no last step: prepare says what they start from.
//
// A rule that needs to know something of a whole tensor before it updates it has three parts:
//   measure        what is summed up over all elements, as a pair of terms for each; it may renew the states on the way
//   decide         its coefficients, once the sums are known, in double; n is the number of elements
//   operator()     the update; a rule that has made it in measure needs none
// With sums_over_group the sums are those of all parameters of a group.
//
// A rule whose direction is changed from outside before it is taken has two:
//   propose        the direction, put into scratch
//   operator()     the update along what it has become
//
// What a function takes by value it leaves alone, and the loop does not store it.
//
// Rules stand in an anonymous namespace because they are compiled once for each instruction set: with external linkage
// the linker would keep one copy of each, perhaps the AVX-512 one, for all.
#pragma once

#include <type_traits>
#include <utility>

#include "rules/schema.hpp"

namespace ravine {
namespace {

template <template <class> class... Rules>
struct RuleList {
  static constexpr int size = sizeof...(Rules);
};

// --- what a rule says of itself by what it has

template <class Rule, class = void>
struct Updates : std::false_type {};
template <class Rule>
struct Updates<Rule, std::void_t<decltype(&Rule::operator())>> : std::true_type {};

template <class Rule, class = void>
struct Proposes : std::false_type {};
template <class Rule>
struct Proposes<Rule, std::void_t<decltype(&Rule::propose)>> : std::true_type {};

template <class Rule, class = void>
struct Measures : std::false_type {};
template <class Rule>
struct Measures<Rule, std::void_t<decltype(&Rule::measure)>> : std::true_type {};

template <class Rule, class = void>
struct SumsOverGroup : std::false_type {};
template <class Rule>
struct SumsOverGroup<Rule, std::void_t<decltype(Rule::sums_over_group)>> : std::true_type {};

template <class Rule, class = void>
struct IsFactored : std::false_type {};
template <class Rule>
struct IsFactored<Rule, std::void_t<decltype(Rule::is_factored)>> : std::true_type {};

template <class Rule, class = void>
struct IsSparse : std::false_type {};
template <class Rule>
struct IsSparse<Rule, std::void_t<decltype(Rule::sparse)>> : std::true_type {};

template <class Rule, class = void>
struct CarriedBy {
  static constexpr auto names = ravine::names();
};
template <class Rule>
struct CarriedBy<Rule, std::void_t<decltype(Rule::carries)>> {
  static constexpr auto names = Rule::carries;
};

// --- what a rule must be

template <class Hyper, class = void>
struct HasLr : std::false_type {};
template <class Hyper>
struct HasLr<Hyper, std::void_t<decltype(Hyper::lr)>> : std::true_type {};

// Becomes a V and nothing else.
template <class V>
struct Exactly {
  template <class T, class = std::enable_if_t<std::is_same_v<T, V>>>
  operator T() const;
};

template <class Rule, class V, class Places, class = void>
struct IsMadeOf : std::false_type {};
template <class Rule, class V, int... place>
struct IsMadeOf<Rule, V, std::integer_sequence<int, place...>,
                std::void_t<decltype(Rule{((void)place, Exactly<V>())...})>> : std::true_type {};

template <class Rule>
constexpr bool has_states_of(StateKind kind) {
  for (int k = 0; k < Rule::states.size; ++k)
    if (Rule::states.items[k].kind == kind) return true;
  return false;
}

// Fails to compile, saying why, where a rule is none.
template <template <class> class Rule, class V>
constexpr void check_rule() {
  static_assert(sizeof(Rule<V>) % sizeof(V) == 0 &&
                    IsMadeOf<Rule<V>, V, std::make_integer_sequence<int, sizeof(Rule<V>) / sizeof(V)>>::value,
                "every coefficient of a rule is a V");
  static_assert(sizeof(typename Rule<V>::Hyper) % sizeof(double) == 0, "hyper-parameters are declared by RAVINE_HYPER");
  static_assert(!Rule<V>::decays.decoupled || HasLr<typename Rule<V>::Hyper>::value,
                "decoupled weight decay is in units of the hyper-parameter lr");
  static_assert(Updates<Rule<V>>::value || Measures<Rule<V>>::value, "a rule has operator() or measure");
  static_assert(has_states_of<Rule<V>>(StateKind::scratch) == Proposes<Rule<V>>::value,
                "scratch is what propose writes to");
  if constexpr (IsFactored<Rule<V>>::value)
    static_assert(Rule<V>::states.size == 2 && Rule<V>::states.items[0].kind == StateKind::row &&
                      Rule<V>::states.items[1].kind == StateKind::column,
                  "a factored rule keeps one_a_row and one_a_column");
  else
    static_assert(!has_states_of<Rule<V>>(StateKind::row) && !has_states_of<Rule<V>>(StateKind::column),
                  "only a factored rule keeps one_a_row or one_a_column");
}

}  // namespace
}  // namespace ravine
