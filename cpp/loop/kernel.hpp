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
constexpr int max_states = 4;
constexpr int max_scalars = 2;  // numbers that a rule carries from step to step

// All in double; a kernel rounds each once to its own type.
struct Coefficients {
  double gradient_scale;  // -1 to maximize
  double decay;           // c above
  double rule[max_rule_coefficients];
};

// The arrays of one tensor: parameter, gradient, then the states in the rule's order.
struct Arrays {
  void* parameter;
  const void* gradient;
  void* states[max_states];
};

// Updates the elements [begin, end).
using Kernel = void (*)(const Coefficients&, const Arrays&, std::int64_t begin, std::int64_t end);

}  // namespace ravine
