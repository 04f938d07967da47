// What is known of each rule beside its kernels, in the order of AllRules.
#pragma once

#include <string>
#include <vector>

#include "loop/kernel.hpp"
#include "rules/hyper.hpp"

namespace ravine {

struct RuleInfo {
  const char* name;
  std::vector<std::string> states;
  std::vector<std::string> scalars;
  // Takes the scalars that the step before left, and leaves those of this one.
  void (*prepare)(const Hyper&, double t, double* scalars, double* coefficients);
  // Changes scalars and coefficients once the sums over n elements are known; null where the rule takes none.
  void (*decide)(SumPair sums, double n, double* scalars, double* coefficients);
  bool is_sparse;  // whether rows without a gradient can be left out
  bool sums_over_group;
  bool is_factored;
};

const std::vector<RuleInfo>& rule_table();

}  // namespace ravine
