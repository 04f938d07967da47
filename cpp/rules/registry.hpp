// All update rules: what they declare.
#pragma once

#include <string>
#include <vector>

#include "rules/declaration.hpp"

namespace ravine {

struct RuleSchema {
  const char* name;
  std::vector<std::string> hyper;
  std::vector<State> states;
  std::vector<std::string> carried;
  Decays decays;
  bool is_sparse, sums_over_group, is_factored;
  int lr;  // where "lr" stands among the hyper-parameters, or -1
  decltype(RuleDeclaration::prepare) prepare;
  decltype(RuleDeclaration::decide) decide;
};

// In the order of families.def.
const std::vector<RuleSchema>& rule_schemas();

// The position of a rule among them. Throws std::invalid_argument where there is none of that name.
int rule_called(const std::string& name);

}  // namespace ravine
