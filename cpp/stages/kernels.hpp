// What a stage is, as seen from outside the files compiled for an instruction set.
#pragma once

#include <cstdint>

#include "kernel.hpp"

namespace ravine {

// What is done to one array of a block, while the block is in the first-level cache: `load` makes of n elements in
// memory those that the rule works on, `store` brings back what the rule has made of them. Without `load` the rule
// works on memory itself.
struct Stage {
  void (*load)(const void* memory, std::int64_t n, const Stage& stage, void* block) = nullptr;
  void (*store)(const void* block, std::int64_t n, const Stage& stage, void* memory) = nullptr;
  double factor = 1;
  double limit = 0;            // of absolute values
  std::int64_t item_size = 0;  // of an element in memory, in bytes

  bool exists() const { return load || store; }
};

// The stages of a tensor's arrays. That of the average stores what the parameter has become.
struct Stages {
  Stage parameter, gradient, average;
  Stage states[max_states];

  bool exist() const {
    bool found = parameter.exists() || gradient.exists() || average.exists();
    for (const Stage& state : states) found |= state.exists();
    return found;
  }
};

// What the elements of a gradient contribute to a norm.
enum class NormTerm { absolute, square, power, greatest };
constexpr int norm_term_count = 4;

// The first of each pair: the sum of |g factor|, of its square or its power, or the greatest of all; the second: how
// many of these are not finite. Of each `elements_per_sum` elements of [begin, end).
using NormKernel = void (*)(const void* gradient, double factor, double power, std::int64_t begin, std::int64_t end,
                            SumPair* sums);

// What there is for each dtype.
struct StageTable {
  decltype(Stage::load) limit[dtype_count];      // g factor, cut off at -limit and limit
  decltype(Stage::store) set_zero[dtype_count];  // 0, whatever the block holds
  decltype(Stage::store) average[dtype_count];   // a + factor (p - a)
  NormKernel norm_terms[norm_term_count][dtype_count];
};

}  // namespace ravine
