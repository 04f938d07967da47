// What the rules of one family declare, and the arithmetic of their coefficients. Compiled once for each family:
// RAVINE_FAMILY names it, RAVINE_FAMILY_HEADER and RAVINE_FAMILY_RULES say what it is (families.def).
#include RAVINE_FAMILY_HEADER

#include <cstring>

#include "names.hpp"
#include "rules/registry.hpp"
#include "rules/rules.hpp"

namespace ravine {
namespace {

template <template <class> class Rule>
void prepare(const double* hyper, double t, double* carried, double* coefficients) {
  using R = Rule<double>;
  typename R::Hyper h;
  std::memcpy(&h, hyper, sizeof h);
  const R rule = [&] {
    if constexpr (CarriedBy<R>::names.size > 0)
      return R::prepare(h, t, carried);
    else
      return R::prepare(h, t);
  }();
  std::memcpy(coefficients, &rule, sizeof rule);
}

template <template <class> class Rule>
void decide(SumPair sums, double n, double* carried, double* coefficients) {
  Rule<double> rule;
  std::memcpy(&rule, coefficients, sizeof rule);
  rule.decide(sums, n, carried);
  std::memcpy(coefficients, &rule, sizeof rule);
}

// "lr, eps" -> {"lr", "eps"}
std::vector<std::string> split(const char* names) {
  std::vector<std::string> found(1);
  for (const char* at = names; *at; ++at) {
    if (*at == ',')
      found.emplace_back();
    else if (*at != ' ')
      found.back() += *at;
  }
  return found;
}

template <template <class> class Rule>
RuleSchema schema_of() {
  using R = Rule<double>;
  check_rule<Rule, double>();
  constexpr auto states = R::states;
  constexpr auto carried = CarriedBy<R>::names;
  static_assert(sizeof(typename R::Hyper) <= max_hyper * sizeof(double), "raise max_hyper");
  static_assert(carried.size <= max_carried, "raise max_carried");
  RuleSchema schema{R::name,
                    split(R::hyper),
                    {states.items, states.items + states.size},
                    {carried.items, carried.items + carried.size},
                    R::decays,
                    IsSparse<R>::value,
                    SumsOverGroup<R>::value,
                    IsFactored<R>::value,
                    prepare<Rule>,
                    nullptr};
  if constexpr (Measures<R>::value) schema.decide = decide<Rule>;
  return schema;
}

template <template <class> class... Rules>
std::vector<RuleSchema> schemas_of(RuleList<Rules...>) {
  return {schema_of<Rules>()...};
}

}  // namespace

std::vector<RuleSchema> RAVINE_JOIN(schemas_of, RAVINE_FAMILY)();
std::vector<RuleSchema> RAVINE_JOIN(schemas_of, RAVINE_FAMILY)() { return schemas_of(RuleList<RAVINE_FAMILY_RULES>()); }

}  // namespace ravine
