// Dropout of a whole array: masks, and their application, shared among threads. Knows nothing of Python.
#pragma once

#include <cstdint>

#include "layers/kernels.hpp"

namespace ravine {

// Elements, and what a mask is drawn for: each of them, or each channel of each sample.
struct DropoutShape {
  std::int64_t size;
  Dtype dtype;
  bool of_channels = false;
  // Where it is of channels: size = samples * channels * length, and whether channels are last in memory.
  std::int64_t samples = 0, channels = 0, length = 0;
  bool channels_last = false;

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
