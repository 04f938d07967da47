#include "plan/rule_table.hpp"

#include <cstring>
#include <type_traits>

#include "rules/rules.hpp"

namespace ravine {
namespace {

// The scalars of a rule, none where it does not mention them.
template <class Rule, class = void>
struct ScalarsOf {
  static constexpr auto names = ravine::names();
};

template <class Rule>
struct ScalarsOf<Rule, std::void_t<decltype(Rule::scalars)>> {
  static constexpr auto names = Rule::scalars;
};

// Whether a rule says that it is sparse.
template <class Rule, class = void>
constexpr bool is_sparse = false;

template <class Rule>
constexpr bool is_sparse<Rule, std::void_t<decltype(Rule::sparse)>> = Rule::sparse;

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

template <int count>
std::vector<std::string> list(const Names<count>& names) {
  return {names.name, names.name + count};
}

template <template <class> class... Rules>
std::vector<RuleInfo> table_of(RuleList<Rules...>) {
  return {{Rules<double>::name, list(Rules<double>::states), list(ScalarsOf<Rules<double>>::names),
           is_sparse<Rules<double>>, prepare<Rules>}...};
}

}  // namespace

const std::vector<RuleInfo>& rule_table() {
  static const std::vector<RuleInfo> table = table_of(AllRules());
  return table;
}

}  // namespace ravine
