// What is done 16 neighbouring elements at a time. A sum has 16 partial sums, whatever the width of the vectors, so
// that every instruction set adds in the same order.
#pragma once

#include <cstdint>

#include "kernel.hpp"
#include "prefetch.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

// The bit of each lane in a word of a mask. A table, since not every instruction set can shift each lane by its own
// count.
constexpr std::uint32_t bit_of[lanes] = {1u << 0, 1u << 1, 1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
                                         1u << 8, 1u << 9, 1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15};

// Fetches what will be read some time after element i of a run. The processor's own guesses end with the page.
template <class V>
struct Ahead {
  const V* arrays[3];  // the beginning of the run in each, or null
  std::int64_t n;      // elements of the run
  std::int64_t next;   // from its beginning to that of the run that follows

  RAVINE_INLINE void operator()(std::int64_t i) const {
    constexpr std::int64_t distance = 4096 / sizeof(V);
    const std::int64_t from = i + distance < n ? i + distance : i + distance - n + next;
    for (const V* array : arrays)
      if (array)
        prefetch_lines(reinterpret_cast<std::uintptr_t>(array) + std::uintptr_t(from) * sizeof(V), lanes * sizeof(V));
  }
};

// Calls f(i, j) for the elements i + j of [0, n), where i counts in sixteens, and before that each ahead(i). What f
// reads of element i alone is read once for the sixteen.
template <class F, class... Ahead>
inline void for_lanes(std::int64_t n, const F& f, const Ahead&... ahead) {
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    (ahead(i), ...);
#pragma omp simd
    for (int j = 0; j < lanes; ++j) f(i, j);
  }
  for (int j = 0; i + j < n; ++j) f(i, j);
}

// The same where f returns whether element i + j is kept: bit j of words[i / 16].
template <class F, class... Ahead>
inline void for_lanes_keeping(std::int64_t n, std::uint16_t* words, const F& f, const Ahead&... ahead) {
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    (ahead(i), ...);
    std::uint32_t word = 0;
#pragma omp simd reduction(| : word)
    for (int j = 0; j < lanes; ++j) word |= bit_of[j] & (0u - std::uint32_t(f(i, j)));  // without a branch
    words[i / lanes] = std::uint16_t(word);
  }
  if (i == n) return;
  std::uint32_t word = 0;
  for (int j = 0; i + j < n; ++j) word |= bit_of[j] & (0u - std::uint32_t(f(i, j)));  // without a branch
  words[i / lanes] = std::uint16_t(word);
}

inline bool kept(const std::uint16_t* words, std::int64_t i, int j) { return (words[i / lanes] & bit_of[j]) != 0; }

// Adds up the first n lanes pair by pair, and leaves the sum in the first.
inline void add_pairs(double* sum, std::int64_t n = lanes) {
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int j = 0; j < half && j + half < n; ++j) sum[j] += sum[j + half];
}

// A sum starts with the first lane; at last the lanes are added pair by pair.
struct LaneSums {
  double first[lanes] = {};
  double second[lanes] = {};

  // Adds terms(i, j), a SumPair, for the elements i + j of [0, n).
  template <class Terms, class... Ahead>
  void add(std::int64_t n, const Terms& terms, const Ahead&... ahead) {
    double a[lanes], b[lanes];  // which the compiler keeps in registers
    for (int j = 0; j < lanes; ++j) {
      a[j] = first[j];
      b[j] = second[j];
    }
    for_lanes(
        n,
        [&](std::int64_t i, int j) {
          const SumPair pair = terms(i, j);
          a[j] += pair.first;
          b[j] += pair.second;
        },
        ahead...);
    for (int j = 0; j < lanes; ++j) {
      first[j] = a[j];
      second[j] = b[j];
    }
  }

  SumPair total() {
    add_pairs(first);
    add_pairs(second);
    return {first[0], second[0]};
  }
};

// The sum of term(i) for i in [0, n), in the order of LaneSums.
template <class Term>
double lane_sum(std::int64_t n, const Term& term) {
  double sum[lanes] = {};
  if (n >= lanes) {
    for_lanes(n, [&](std::int64_t i, int j) { sum[j] += term(i + j); });
    n = lanes;
  } else {
    for (std::int64_t i = 0; i < n; ++i) sum[i] = term(i);
  }
  add_pairs(sum, n);
  return sum[0];
}

}  // namespace
}  // namespace ravine
