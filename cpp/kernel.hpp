// What a kernel is, as seen from outside the files compiled for an instruction set.
#pragma once

#include <cstdint>

namespace ravine {

enum class Dtype { float32, float64 };
constexpr int dtype_count = 2;
constexpr std::int64_t item_size(Dtype dtype) { return dtype == Dtype::float32 ? 4 : 8; }  // in bytes

// What weight decay does before the rule: nothing, g <- g + c p (L2), or p <- p - c p (decoupled; Loshchilov & Hutter
// 2019).
enum class Decay { none, coupled, decoupled };
constexpr int decay_count = 3;

constexpr int max_rule_coefficients = 13;
constexpr int max_hyper = 9;
constexpr int max_states = 4;
constexpr int max_carried = 3;  // numbers that a rule carries from step to step

constexpr int lanes = 16;  // how many partial sums a sum has, and how many bits of a mask stand in a word

// Sums of a tensor are taken block by block, and those of the blocks added in their order, so that they depend on the
// shape alone.
constexpr std::int64_t elements_per_sum = 1 << 12;

// A pair of sums over the same elements.
struct SumPair {
  double first, second;
};

// All in double; a kernel rounds each once to its own type.
struct Coefficients {
  double gradient_scale;     // of the gradient, before all else; negative to maximize
  double decay_coefficient;  // c above
  double rule[max_rule_coefficients];
};

// The matrices that a tensor consists of, as they lie in memory, and how they are cut into blocks: whole rows of one
// matrix, or whole matrices. For factored rules.
struct Factoring {
  std::int64_t rows, columns;
  std::int64_t block;   // in elements
  double* column_sums;  // `columns` for each block
  double* row_means;    // the mean over the rows of each matrix
};

// The arrays of one tensor: parameter, gradient, then the states in the rule's order.
struct Arrays {
  void* parameter;
  const void* gradient;
  void* states[max_states];
  SumPair* sums;  // of each block, where the rule takes sums
  Factoring factoring;
  void* average;           // of what the parameter has been, or null
  std::int32_t ahead = 0;  // how many bytes before their turn elements are asked for; 0: not at all
};

// Works on the elements [begin, end), which are whole blocks where the rule takes sums.
using Kernel = void (*)(const Coefficients&, const Arrays&, std::int64_t begin, std::int64_t end);

// What a rule does to the elements of a tensor, phase by phase. Null: the rule has no such phase.
struct RuleKernels {
  Kernel moments;  // of a factored rule: means along rows and columns
  Kernel settle;   // and what follows from them, for a whole tensor
  Kernel propose;  // the direction, before others change it
  Kernel measure;  // sums, from which the rule decides how large a step to take
  Kernel update;
};

}  // namespace ravine
