#include "plan/rule_table.hpp"

#include <cstring>

#include "rules/rules.hpp"
#include "rules/traits.hpp"

namespace ravine {
namespace {

template <template <class> class Rule>
void prepare(const Hyper& hyper, double t, double* scalars, double* coefficients) {
  constexpr int count = ScalarsOf<Rule<double>>::names.size;
  static_assert(count <= max_scalars, "raise max_scalars");
  Rule<double> rule;
  if constexpr (count > 0)
    rule = Rule<double>::prepare(hyper, t, scalars);
  else
    rule = Rule<double>::prepare(hyper, t);
  std::memcpy(coefficients, &rule, sizeof rule);
}

template <template <class> class Rule>
void decide(SumPair sums, double n, double* scalars, double* coefficients) {
  Rule<double> rule;
  std::memcpy(&rule, coefficients, sizeof rule);
  rule.decide(sums, n, scalars);
  std::memcpy(coefficients, &rule, sizeof rule);
}

template <int count>
std::vector<std::string> list(const Names<count>& names) {
  return {names.name, names.name + count};
}

template <template <class> class Rule>
RuleInfo info_of() {
  using R = Rule<double>;
  RuleInfo info{R::name, list(R::states),    list(ScalarsOf<R>::names), prepare<Rule>,
                nullptr, IsSparse<R>::value, SumsOverGroup<R>::value,   IsFactored<R>::value};
  if constexpr (Measures<R>::value) info.decide = decide<Rule>;
  return info;
}

template <template <class> class... Rules>
std::vector<RuleInfo> table_of(RuleList<Rules...>) {
  return {info_of<Rules>()...};
}

}  // namespace

const std::vector<RuleInfo>& rule_table() {
  static const std::vector<RuleInfo> table = table_of(AllRules());
  return table;
}

}  // namespace ravine
