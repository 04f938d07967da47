// What a stage is, as seen from outside the files compiled for an instruction set.
#pragma once

#include <cstdint>

#include "kernel.hpp"

namespace ravine {

// What is done to one array of a block, while the block is in the first-level cache: `load` makes of n elements in
// memory those that the rule works on, `store` brings back what the rule has made of them. Without `load` the rule
// works on memory itself.
struct Stage {
  void (*load)(const void* memory, std::int64_t n, double factor, void* block) = nullptr;
  void (*store)(const void* block, std::int64_t n, void* memory) = nullptr;
  double factor = 1;
  std::int64_t item_size = 0;  // of an element in memory, in bytes

  bool exists() const { return load || store; }
};

// The stages of a tensor's arrays.
struct Stages {
  Stage parameter, gradient;
  Stage states[max_states];

  bool exist() const {
    bool found = parameter.exists() || gradient.exists();
    for (const Stage& state : states) found |= state.exists();
    return found;
  }
};

// What there is for each dtype.
struct StageTable {
  decltype(Stage::load) unscale[dtype_count];    // g factor
  decltype(Stage::store) set_zero[dtype_count];  // 0, whatever the block holds

  // The sums of (g factor)^2, and of how many of these are not finite, over each `elements_per_sum` elements of
  // [begin, end).
  void (*add_squares[dtype_count])(const void* gradient, double factor, std::int64_t begin, std::int64_t end,
                                   SumPair* sums);
};

}  // namespace ravine
