// What a rule declares, and the arithmetic of its coefficients, as its family's file exports it.
#pragma once

#include "kernel.hpp"
#include "rules/schema.hpp"

namespace ravine {

struct RuleDeclaration {
  const char* name;
  const char* hyper;  // the names, separated by commas
  const State* states;
  int state_count;
  const char* const* carried;
  int carried_count;
  Decays decays;
  bool is_sparse;  // whether rows without a gradient can be left out
  bool sums_over_group;
  bool is_factored;
  // From hyper-parameters in their order and the carried numbers that the step before left, of which it leaves the
  // next.
  void (*prepare)(const double* hyper, double t, double* carried, double* coefficients);
  // Changes carried numbers and coefficients once the sums over n elements are known; null where the rule takes none.
  void (*decide)(SumPair sums, double n, double* carried, double* coefficients);
};

struct FamilyDeclaration {
  const RuleDeclaration* rules;
  int count;
};

}  // namespace ravine
