// What the passes of layers measure their work by.
#pragma once

#include <cstdint>

namespace ravine {

// What is worth sharing among threads is measured in bytes of an optimizer's step. Summing and normalising, or drawing
// random numbers, takes so much longer with each.
constexpr std::int64_t slower_than_a_step = 4;

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace ravine
