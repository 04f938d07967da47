// The kernels of one instruction set.
#pragma once

#include "layers/kernels.hpp"
#include "loop/kernel.hpp"
#include "rules/rules.hpp"

namespace ravine {

struct Table {
  const char* name;
  Passes passes[AllRules::size][decay_count][dtype_count];
  LayerKernels layers;

  const Passes& passes_of(int rule, Decay decay, Dtype dtype) const { return passes[rule][int(decay)][int(dtype)]; }
};

}  // namespace ravine
