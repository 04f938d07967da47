// What files compiled for an instruction set export, each one of these.
#pragma once

#include "kernel.hpp"
#include "layers/kernels.hpp"
#include "stages/kernels.hpp"

namespace ravine {

struct RuleTable {
  RuleKernels kernels[decay_count][dtype_count];  // of a decay that the rule does not take: none
};

struct FamilyTable {
  const RuleTable* rules;
  int count;
};

}  // namespace ravine
