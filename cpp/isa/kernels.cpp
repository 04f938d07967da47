// Compiled once for each instruction set, with RAVINE_ISA naming it. Whatever an object made from this file shares with
// another could be run on a machine that lacks its instructions, so all of it is in an anonymous namespace, no standard
// container is included, and one table is exported (tests/test_binaries.py).
#include "isa/table.hpp"
#include "layers/layers.hpp"
#include "loop/elementwise.hpp"
#include "loop/factored.hpp"

#define RAVINE_JOIN_(a, b) a##b
#define RAVINE_JOIN(a, b) RAVINE_JOIN_(a, b)
#define RAVINE_QUOTE_(a) #a
#define RAVINE_QUOTE(a) RAVINE_QUOTE_(a)

namespace ravine {
namespace {

template <template <class> class Rule, class V, Decay decay>
constexpr Passes passes_of() {
  if constexpr (IsFactored<Rule<V>>::value)
    return Factored<Rule, V, decay>::passes();
  else
    return elementwise<Rule, V, decay>();
}

template <template <class> class... Rules>
constexpr Table table_of(RuleList<Rules...>) {
  return {RAVINE_QUOTE(RAVINE_ISA),
          {{{passes_of<Rules, float, Decay::none>(), passes_of<Rules, double, Decay::none>()},
            {passes_of<Rules, float, Decay::coupled>(), passes_of<Rules, double, Decay::coupled>()},
            {passes_of<Rules, float, Decay::decoupled>(), passes_of<Rules, double, Decay::decoupled>()}}...},
          layer_kernels()};
}

}  // namespace

extern const Table RAVINE_JOIN(table_, RAVINE_ISA);
const Table RAVINE_JOIN(table_, RAVINE_ISA) = table_of(AllRules());

}  // namespace ravine
