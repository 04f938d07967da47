// The kernels of one instruction set.
#pragma once

#include "layers/kernels.hpp"
#include "loop/kernel.hpp"
#include "rules/rules.hpp"

namespace ravine {

struct Table {
  const char* name;
  Kernel kernels[AllRules::size][decay_count][dtype_count];
  BatchNormKernels batch_norm;
  DropoutKernels dropout;

  Kernel kernel(int rule, Decay decay, Dtype dtype) const { return kernels[rule][int(decay)][int(dtype)]; }
};

}  // namespace ravine
