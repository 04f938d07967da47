#include "rules/registry.hpp"

#include <algorithm>
#include <stdexcept>

namespace ravine {

// Each family's file, rules/family.cpp, defines one of these.
#define RAVINE_FAMILY(family, ...) extern const FamilyDeclaration declaration_##family;
#include "rules/families.def"
#undef RAVINE_FAMILY

namespace {

std::vector<FamilyDeclaration> families() {
  return {
#define RAVINE_FAMILY(family, ...) declaration_##family,
#include "rules/families.def"
#undef RAVINE_FAMILY
  };
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

RuleSchema schema_of(const RuleDeclaration& rule) {
  const std::vector<std::string> hyper = split(rule.hyper);
  const auto lr = std::find(hyper.begin(), hyper.end(), "lr");
  return {rule.name,
          hyper,
          {rule.states, rule.states + rule.state_count},
          {rule.carried, rule.carried + rule.carried_count},
          rule.decays,
          rule.is_sparse,
          rule.sums_over_group,
          rule.is_factored,
          lr == hyper.end() ? -1 : int(lr - hyper.begin()),
          rule.prepare,
          rule.decide};
}

}  // namespace

const std::vector<RuleSchema>& rule_schemas() {
  static const std::vector<RuleSchema> schemas = [] {
    std::vector<RuleSchema> all;
    for (const FamilyDeclaration& family : families())
      for (int rule = 0; rule < family.count; ++rule) all.push_back(schema_of(family.rules[rule]));
    return all;
  }();
  return schemas;
}

int rule_called(const std::string& name) {
  const auto& rules = rule_schemas();
  for (std::size_t i = 0; i < rules.size(); ++i)
    if (name == rules[i].name) return int(i);
  throw std::invalid_argument("no rule is called '" + name + "'");
}

}  // namespace ravine
