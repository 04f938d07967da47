// What the files compiled for an instruction set export, as one table. Compiled once for each, RAVINE_ISA naming it,
// but without its flags.
#include "isa/select.hpp"
#include "names.hpp"

namespace ravine {

#define RAVINE_TABLES(family) RAVINE_JOIN(RAVINE_JOIN(rules, family), RAVINE_ISA)
#define RAVINE_FAMILY(family, ...) extern const FamilyTable RAVINE_TABLES(family);
#include "rules/families.def"
#undef RAVINE_FAMILY
extern const LayerKernels RAVINE_JOIN(layers, RAVINE_ISA);
extern const StageTable RAVINE_JOIN(stages, RAVINE_ISA);

namespace isa {
namespace {

std::vector<const RuleTable*> all_rules() {
  const FamilyTable families[] = {
#define RAVINE_FAMILY(family, ...) RAVINE_TABLES(family),
#include "rules/families.def"
#undef RAVINE_FAMILY
  };
  std::vector<const RuleTable*> rules;
  for (const FamilyTable& family : families)
    for (int rule = 0; rule < family.count; ++rule) rules.push_back(family.rules + rule);
  return rules;
}

}  // namespace

const Table& RAVINE_JOIN(table, RAVINE_ISA)() {
  static const Table table{RAVINE_QUOTE(RAVINE_ISA), all_rules(), &RAVINE_JOIN(layers, RAVINE_ISA),
                           &RAVINE_JOIN(stages, RAVINE_ISA)};
  return table;
}

}  // namespace isa
}  // namespace ravine
