// The choice among the instruction sets.
#pragma once

#include <string>
#include <vector>

#include "isa/table.hpp"

namespace ravine::isa {

// The kernels of one instruction set.
struct Table {
  const char* name;
  std::vector<const RuleTable*> rules;  // in the order of rule_schemas()
  const LayerKernels* layers;
  const StageTable* stages;

  const RuleKernels& kernels_of(int rule, Decay decay, Dtype dtype) const {
    return rules[rule]->kernels[int(decay)][int(dtype)];
  }
};

// What this machine can run, from the baseline to the best.
std::vector<std::string> available();

// The table in use: the best available, until another is chosen.
const Table& active();

// Changes the table in use. Throws std::invalid_argument when `name` is unknown or cannot run here.
void use(const std::string& name);

}  // namespace ravine::isa
