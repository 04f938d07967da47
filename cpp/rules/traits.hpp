// What a rule says of itself by what it has; rules.hpp tells what it means.
#pragma once

#include <type_traits>

#include "rules/names.hpp"

namespace ravine {
namespace {  // see rules.hpp

template <class Rule, class = void>
struct Updates : std::false_type {};
template <class Rule>
struct Updates<Rule, std::void_t<decltype(&Rule::operator())>> : std::true_type {};

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
struct ScalarsOf {
  static constexpr auto names = ravine::names();
};
template <class Rule>
struct ScalarsOf<Rule, std::void_t<decltype(Rule::scalars)>> {
  static constexpr auto names = Rule::scalars;
};

}  // namespace
}  // namespace ravine
