// What is known of each rule beside its kernels: what it declares, and the arithmetic of its coefficients.
#pragma once

#include <string>
#include <vector>

#include "kernel.hpp"
#include "rules/schema.hpp"

namespace ravine {

struct RuleSchema {
  const char* name;
  std::vector<std::string> hyper;
  std::vector<State> states;
  std::vector<std::string> carried;
  Decays decays;
  bool is_sparse;  // whether rows without a gradient can be left out
  bool sums_over_group;
  bool is_factored;
  // From hyper-parameters in their order and the carried numbers that the step before left, of which it leaves the
  // next.
  void (*prepare)(const double* hyper, double t, double* carried, double* coefficients);
  // Changes carried numbers and coefficients once the sums over n elements are known; null where the rule takes none.
  void (*decide)(SumPair sums, double n, double* carried, double* coefficients);

  // Where "lr" stands among the hyper-parameters, or -1.
  int lr() const;
};

// In the order of families.def.
const std::vector<RuleSchema>& rule_schemas();

// The number of rules in each family.
const std::vector<int>& family_sizes();

}  // namespace ravine
