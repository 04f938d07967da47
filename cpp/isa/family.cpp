// The kernels of one family of rules, compiled once for each instruction set: RAVINE_ISA and RAVINE_FAMILY name them,
// RAVINE_FAMILY_HEADER and RAVINE_FAMILY_RULES say what the family is (rules/families.def).
// Whatever an object made from this file shares with another could be run on a machine that lacks its instructions, so
// all of it is in an anonymous namespace, no standard container is included, and one array is exported
// (tests/test_binaries.py).
#include RAVINE_FAMILY_HEADER

#include "isa/table.hpp"
#include "loop/elementwise.hpp"
#include "loop/factored.hpp"
#include "names.hpp"

namespace ravine {
namespace {

template <template <class> class Rule, class V, Decay decay>
constexpr RuleKernels kernels_of() {
  check_rule<Rule, V>();
  if constexpr (!Rule<V>::decays.has(decay))
    return {};
  else if constexpr (IsFactored<Rule<V>>::value)
    return Factored<Rule, V, decay>::kernels();
  else
    return elementwise<Rule, V, decay>();
}

template <template <class> class Rule>
constexpr RuleTable table_of() {
  return {{{kernels_of<Rule, float, Decay::none>(), kernels_of<Rule, double, Decay::none>()},
           {kernels_of<Rule, float, Decay::coupled>(), kernels_of<Rule, double, Decay::coupled>()},
           {kernels_of<Rule, float, Decay::decoupled>(), kernels_of<Rule, double, Decay::decoupled>()}}};
}

template <class Rules>
struct Tables;

template <template <class> class... Rules>
struct Tables<RuleList<Rules...>> {
  static constexpr RuleTable of_rules[] = {table_of<Rules>()...};
};

}  // namespace

#define RAVINE_TABLES RAVINE_JOIN(RAVINE_JOIN(rules, RAVINE_FAMILY), RAVINE_ISA)

extern const FamilyTable RAVINE_TABLES;
const FamilyTable RAVINE_TABLES = {Tables<RuleList<RAVINE_FAMILY_RULES>>::of_rules,
                                   RuleList<RAVINE_FAMILY_RULES>::size};

}  // namespace ravine
