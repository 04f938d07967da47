// What the kernels of layers are, as seen from outside the files compiled for an instruction set.
#pragma once

#include <cstdint>

#include "loop/kernel.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

// The address of element i, where there is an array.
template <class T>
T* at(T* array, std::int64_t i) {
  return array ? array + i : nullptr;
}

}  // namespace

// What is done beside batch normalisation in the same pass: y = bn(x), max(bn(x), 0), bn(x) + z, max(bn(x) + z, 0).
enum class Fused { plain, relu, add, add_relu };
constexpr int fused_count = 4;
constexpr bool adds(Fused fused) { return fused == Fused::add || fused == Fused::add_relu; }

enum class BatchNormPass { moments, forward, backward_sums, backward, backward_evaluation };
constexpr int batch_norm_pass_count = 5;

// How the elements of a block belong to channels, and so where coefficients and sums are found.
//   planes   each row holds `channels` planes of `length` elements; one coefficient, one sum a channel
//   columns  each row holds channels * length columns; one coefficient, one sum a column
enum class Scheme { planes, columns };
constexpr int scheme_count = 2;
constexpr int max_planes = 16;  // channels of a block of planes

// Rows of an array, `stride` elements apart. All pointers are at the block's first element, channel or column.
struct BatchNormBlock {
  std::int64_t rows, stride, channels, length;

  const void* x;
  const void* z;  // what is added
  const void* dy;
  void* result;  // y, or dx
  void* dz;
  std::uint16_t*
      mask;  // of add_relu: a bit for each element, sixteen a word, planes and rows of columns padded to words
  std::int64_t mask_stride;        // words from row to row
  std::int64_t mask_plane_stride;  // words from plane to plane

  // Per channel or column. y = (x - center) scale + shift;  dx = ((dy + offset) + slope (x - center)) scale.
  const double* about;  // moments: the sums are of x - about and its square; backward_sums: of dy and dy (x - about)
  const void *center, *scale, *shift, *slope, *offset;

  double *first, *second;  // the two sums; those of columns are added to what is there
  bool prefetching;        // whether what is read comes from memory
  bool streaming;          // whether what is written goes there
};

using BatchNormKernel = void (*)(const BatchNormBlock&);

struct BatchNormKernels {
  BatchNormKernel passes[batch_norm_pass_count][scheme_count][fused_count][dtype_count];

  // Adds, for each of `channels` channels, the sums of its `length` neighbouring columns to its totals.
  void (*fold)(const double* first, const double* second, std::int64_t channels, std::int64_t length,
               double* first_total, double* second_total);
};

// Elements of a block of random bits: sixteen counters, eight elements each.
constexpr std::int64_t random_block = 128;

// Where random bits come from: Philox with this key, from this counter on.
struct Random {
  std::uint64_t seed, counter;
  std::uint32_t threshold;  // of 65536: how often an element is dropped
};

// Neighbouring elements that are kept, y = x scale + shift, or dropped, y = dropped.
struct DropoutRun {
  const void* x;
  void* y;
  std::uint16_t* mask;   // a bit for each element that is kept; null where all are
  const Random* random;  // draws the mask first, where it is not null
  std::int64_t n;
  double scale, shift, dropped;
  bool prefetching, streaming;  // as above
};

struct DropoutKernels {
  // Draws the masks of so many blocks. An element is kept where its 16 bits are not below the
  // threshold.
  void (*draw)(const Random& random, std::int64_t blocks, std::uint16_t* mask);
  void (*apply[dtype_count])(const DropoutRun&);
};

}  // namespace ravine
