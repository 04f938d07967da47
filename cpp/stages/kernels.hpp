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

// A block of a tensor's update, and how it is modified: multiplied by a factor, or where it is cautious, by 0 where it
// does not descend.
struct UpdateBlock {
  const void* before;  // the parameter, not yet shrunk by weight decay
  const void* gradient;
  void* after;  // what the rule has made of the parameter
  const Coefficients* coefficients;
  Decay decay;
  bool cautious;
  double factor;
  double decay_factor;      // of decoupled weight decay
  const void* mean_square;  // of the gradient, by which it is measured, or null
  double correction, eps;   // a factor of that, and the least root of the product
};

// First how many elements are kept, then the sum of their squares before they are multiplied, or of the measured
// gradient's squares. Of a whole block of a sum.
using UpdateSums = SumPair (*)(const UpdateBlock& update, std::int64_t n);
using Modify = void (*)(const UpdateBlock& update, std::int64_t n);

// What there is for each dtype.
struct StageTable {
  decltype(Stage::load) limit[dtype_count];      // g factor, cut off at -limit and limit
  decltype(Stage::store) set_zero[dtype_count];  // 0, whatever the block holds
  decltype(Stage::store) average[dtype_count];   // a + factor (p - a)
  NormKernel norm_terms[norm_term_count][dtype_count];
  decltype(Stage::load) copy[dtype_count];
  decltype(Stage::load) shrink[dtype_count];  // p - factor p
  UpdateSums update_sums[dtype_count];
  Modify modify[dtype_count];
};

}  // namespace ravine
