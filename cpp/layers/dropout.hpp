// Dropout (Srivastava et al. 2014): masks of random bits, and what they do.
#pragma once

#include "layers/kernels.hpp"
#include "layers/philox.hpp"
#include "layers/stream.hpp"
#include "loop/lanes.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

// Element e takes half word e % 8, the lower half of a word first, of those that counter e / 8 gives.
inline void draw_masks(const Random& random_bits, std::int64_t blocks, std::uint16_t* mask) {
  // No structured binding: OpenMP of older compilers captures none.
  const std::uint64_t seed = random_bits.seed, counter = random_bits.counter;
  const std::uint32_t threshold = random_bits.threshold;
  constexpr int half_words = 8;
  static_assert(lanes * half_words == random_block && lanes % philox_lanes == 0, "");
  for (std::int64_t block = 0; block < blocks; ++block) {
    std::uint32_t random[half_words / 2][lanes];  // a word of every counter in each row
    for (int left = 0; left < lanes; left += philox_lanes) {
      std::uint64_t counters[2][philox_lanes], drawn[philox_lanes];
      for (int j = 0; j < philox_lanes; ++j) {
        counters[0][j] = counter + std::uint64_t(block * lanes + left + j);
        counters[1][j] = counters[0][j] >> 32;
      }
      Words words{};
      std::memcpy(words.word[0], counters[0], sizeof counters[0]);
      std::memcpy(words.word[1], counters[1], sizeof counters[1]);
      words = philox(words, std::uint32_t(seed), std::uint32_t(seed >> 32));
      for (int k = 0; k < half_words / 2; ++k) {
        std::memcpy(drawn, words.word[k], sizeof drawn);
        for (int j = 0; j < philox_lanes; ++j) random[k][left + j] = std::uint32_t(drawn[j]);
      }
    }
    std::uint32_t bits[lanes] = {};  // of the eight elements of each counter
    for (int k = 0; k < half_words / 2; ++k) {
#pragma omp simd
      for (int j = 0; j < lanes; ++j) {
        const std::uint32_t lower = (random[k][j] & 0xFFFFu) >= threshold;
        const std::uint32_t upper = random[k][j] >> 16 >= threshold;
        bits[j] |= (lower | upper << 1) << 2 * k;
      }
    }
    for (int w = 0; w < half_words; ++w)
      mask[block * half_words + w] = std::uint16_t(bits[2 * w] | bits[2 * w + 1] << 8);
  }
}

template <class V>
void drop(const DropoutRun& run) {
  const V* const x = static_cast<const V*>(run.x);
  std::uint16_t* const mask = run.mask;
  const V scale = V(run.scale), shift = V(run.shift), dropped = V(run.dropped);
  static_assert(Streamer<V>::piece % random_block == 0, "");
  const auto compute = [=, &run](std::int64_t begin, std::int64_t end, V* y) {
    if (run.random) {
      // While the piece of x that the last one has asked for is on its way.
      const std::int64_t blocks = (end - begin + random_block - 1) / random_block;
      draw_masks(
          {run.random->seed, run.random->counter + std::uint64_t(begin / random_block * lanes), run.random->threshold},
          blocks, mask + begin / lanes);
    }
    const Ahead<V> ahead{{run.prefetching ? x + begin : nullptr}, end - begin, end - begin};
    if (mask)
      for_lanes(
          end - begin,
          [=](std::int64_t i, int j) {
            const V value = x[begin + i + j] * scale + shift;
            y[i + j] = kept(mask, begin + i, j) ? value : dropped;
          },
          ahead);
    else
      for_lanes(end - begin, [=](std::int64_t i, int j) { y[i + j] = x[begin + i + j] * scale + shift; }, ahead);
  };
  write(run.n, run.streaming, compute, static_cast<V*>(run.y));
  if (run.streaming) finish_streaming();
}

constexpr DropoutKernels dropout_kernels() { return {draw_masks, {drop<float>, drop<double>}}; }

}  // namespace
}  // namespace ravine
