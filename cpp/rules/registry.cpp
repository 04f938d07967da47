#include "rules/registry.hpp"

#include <algorithm>

namespace ravine {

// Each family's file, rules/family.cpp, defines one of these.
#define RAVINE_FAMILY(family, ...) std::vector<RuleSchema> schemas_of_##family();
#include "rules/families.def"
#undef RAVINE_FAMILY

namespace {

std::vector<std::vector<RuleSchema>> families() {
  return {
#define RAVINE_FAMILY(family, ...) schemas_of_##family(),
#include "rules/families.def"
#undef RAVINE_FAMILY
  };
}

}  // namespace

int RuleSchema::lr() const {
  const auto found = std::find(hyper.begin(), hyper.end(), "lr");
  return found == hyper.end() ? -1 : int(found - hyper.begin());
}

const std::vector<RuleSchema>& rule_schemas() {
  static const std::vector<RuleSchema> schemas = [] {
    std::vector<RuleSchema> all;
    for (const auto& family : families()) all.insert(all.end(), family.begin(), family.end());
    return all;
  }();
  return schemas;
}

const std::vector<int>& family_sizes() {
  static const std::vector<int> sizes = [] {
    std::vector<int> all;
    for (const auto& family : families()) all.push_back(int(family.size()));
    return all;
  }();
  return sizes;
}

}  // namespace ravine
