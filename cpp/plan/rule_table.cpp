#include "plan/rule_table.hpp"

#include <cstring>

#include "rules/rules.hpp"

namespace ravine {
namespace {

template <template <class> class Rule>
void prepare(const Hyper& hyper, double t, double* coefficients) {
  const auto rule = Rule<double>::prepare(hyper, t);
  std::memcpy(coefficients, &rule, sizeof rule);
}

template <template <class> class... Rules>
std::vector<RuleInfo> table_of(RuleList<Rules...>) {
  return {{Rules<double>::name,
           {Rules<double>::states.name, Rules<double>::states.name + Rules<double>::states.size},
           prepare<Rules>}...};
}

}  // namespace

const std::vector<RuleInfo>& rule_table() {
  static const std::vector<RuleInfo> table = table_of(AllRules());
  return table;
}

}  // namespace ravine
