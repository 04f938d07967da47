// What the rules of one family declare, and the arithmetic of their coefficients. Compiled once for each family:
// RAVINE_FAMILY names it, RAVINE_FAMILY_HEADER and RAVINE_FAMILY_RULES say what it is (families.def).
#include RAVINE_FAMILY_HEADER

#include <cstring>

#include "names.hpp"
#include "rules/declaration.hpp"
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

template <template <class> class Rule>
constexpr RuleDeclaration declaration_of() {
  using R = Rule<double>;
  using Carried = CarriedBy<R>;
  check_rule<Rule, double>();
  static_assert(sizeof(typename R::Hyper) <= max_hyper * sizeof(double), "raise max_hyper");
  static_assert(Carried::names.size <= max_carried, "raise max_carried");
  RuleDeclaration declaration{R::name,
                              R::hyper,
                              R::states.items,
                              R::states.size,
                              Carried::names.items,
                              Carried::names.size,
                              R::decays,
                              IsSparse<R>::value,
                              SumsOverGroup<R>::value,
                              IsFactored<R>::value,
                              prepare<Rule>,
                              nullptr};
  if constexpr (Measures<R>::value) declaration.decide = decide<Rule>;
  return declaration;
}

template <class Rules>
struct Declarations;

template <template <class> class... Rules>
struct Declarations<RuleList<Rules...>> {
  static constexpr RuleDeclaration of_rules[] = {declaration_of<Rules>()...};
};

}  // namespace

#define RAVINE_DECLARATION RAVINE_JOIN(declaration, RAVINE_FAMILY)

extern const FamilyDeclaration RAVINE_DECLARATION;
const FamilyDeclaration RAVINE_DECLARATION = {Declarations<RuleList<RAVINE_FAMILY_RULES>>::of_rules,
                                              RuleList<RAVINE_FAMILY_RULES>::size};

}  // namespace ravine
