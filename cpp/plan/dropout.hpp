// Dropout of a whole array: masks, and their application, shared among threads. Knows nothing of Python.
#pragma once

#include <cstdint>

#include "layers/kernels.hpp"

namespace ravine {

// Where the random bits come from: Philox with this key, from this counter on.
struct Random {
  std::uint64_t seed, counter;
  std::uint32_t threshold;  // of 65536: how often an element is dropped
};

// What a mask is drawn for: each element, or each channel of each sample.
struct DropoutShape {
  std::int64_t samples, channels;  // channels 0: one decision an element, `samples` of them
  std::int64_t length;             // elements of a channel in memory order, or positions where channels are last
  bool channels_last;
  Dtype dtype;

  std::int64_t size() const { return samples * (channels ? channels * length : 1); }
  std::int64_t mask_words() const;  // rounded up to whole blocks of random bits
  std::uint64_t counters() const;   // that a mask uses up
};

struct Dropout {
  DropoutShape shape;
  const void* x;
  void* y;
  std::uint16_t* mask;
  double scale, shift, dropped;
};

// Draws the mask where `random` is given, then applies it.
void run(const Dropout& work, const Random* random);

}  // namespace ravine
