// Philox 4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"): random numbers as a
// function of a key and a counter, so that every thread can draw its own part of a sequence.
#pragma once

#include <cstdint>
#if defined(__GNUC__) && defined(__SSE2__)
#include <immintrin.h>
#endif

namespace ravine {
namespace {  // see rules/rules.hpp

// One or several 64-bit integers, and their lower halves times m: the one operation that compilers do not find.
#if defined(__GNUC__) && defined(__AVX512F__)
using Wide = std::uint64_t __attribute__((vector_size(64)));
inline Wide multiply(Wide a, std::uint32_t m) {
  return Wide(_mm512_maskz_mul_epu32(0xFF, __m512i(a), _mm512_set1_epi64(m)));
}
#elif defined(__GNUC__) && defined(__AVX2__)
using Wide = std::uint64_t __attribute__((vector_size(32)));
inline Wide multiply(Wide a, std::uint32_t m) { return Wide(_mm256_mul_epu32(__m256i(a), _mm256_set1_epi64x(m))); }
#elif defined(__GNUC__) && defined(__SSE2__)
using Wide = std::uint64_t __attribute__((vector_size(16)));
inline Wide multiply(Wide a, std::uint32_t m) { return Wide(_mm_mul_epu32(__m128i(a), _mm_set1_epi64x(m))); }
#else
using Wide = std::uint64_t;
inline Wide multiply(Wide a, std::uint32_t m) { return std::uint64_t(std::uint32_t(a)) * m; }
#endif
constexpr int wide_lanes = sizeof(Wide) / sizeof(std::uint64_t);

// Two vectors at a time: what one operation waits for, the other's does meanwhile.
constexpr int philox_groups = 2;
constexpr int philox_lanes = philox_groups * wide_lanes;

// Four 32-bit words for each of philox_lanes counters, each in the lower half of its 64 bits; the upper halves are of
// no account.
struct Words {
  Wide word[4][philox_groups];
};

inline Words philox(Words counter, std::uint32_t key0, std::uint32_t key1) {
  constexpr int rounds = 10;
  for (int round = 0; round < rounds; ++round) {
    for (int g = 0; g < philox_groups; ++g) {
      const Wide product0 = multiply(counter.word[0][g], 0xD2511F53u);
      const Wide product1 = multiply(counter.word[2][g], 0xCD9E8D57u);
      counter.word[0][g] = product1 >> 32 ^ counter.word[1][g] ^ key0;
      counter.word[1][g] = product1;
      counter.word[2][g] = product0 >> 32 ^ counter.word[3][g] ^ key1;
      counter.word[3][g] = product0;
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

}  // namespace
}  // namespace ravine
