// What the files compiled for an instruction set export, as one table. Compiled once for each, RAVINE_ISA naming it,
// but without its flags.
#include "isa/select.hpp"
#include "names.hpp"
#include "rules/registry.hpp"

namespace ravine {

#define RAVINE_TABLES(family) RAVINE_JOIN(RAVINE_JOIN(rules, family), RAVINE_ISA)
#define RAVINE_FAMILY(family, ...) extern const RuleTable* const RAVINE_TABLES(family);
#include "rules/families.def"
#undef RAVINE_FAMILY
extern const LayerKernels RAVINE_JOIN(layers, RAVINE_ISA);
extern const StageTable RAVINE_JOIN(stages, RAVINE_ISA);

namespace isa {
namespace {

std::vector<const RuleTable*> all_rules() {
  const RuleTable* const families[] = {
#define RAVINE_FAMILY(family, ...) RAVINE_TABLES(family),
#include "rules/families.def"
#undef RAVINE_FAMILY
  };
  std::vector<const RuleTable*> rules;
  for (std::size_t family = 0; family < std::size(families); ++family)
    for (int rule = 0; rule < family_sizes()[family]; ++rule) rules.push_back(families[family] + rule);
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
