// What files compiled for an instruction set export, each one of these.
#pragma once

#include "layers/kernels.hpp"
#include "loop/kernel.hpp"
#include "stages/kernels.hpp"

namespace ravine {

struct RuleTable {
  RuleKernels kernels[decay_count][dtype_count];  // of a decay that the rule does not take: none
};

struct LayerTable {
  BatchNormKernels batch_norm;
  DropoutKernels dropout;
};

}  // namespace ravine
