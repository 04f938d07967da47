// What the kernels of layers are, as seen from outside the files compiled for an instruction set.
#pragma once

#include <cstdint>

#include "kernel.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

// The address of element i, where there is an array.
template <class T>
T* at(T* array, std::int64_t i) {
  return array ? array + i : nullptr;
}

}  // namespace

// --- Normalisation: sums over groups of elements, and what follows from them for each element.

// How the elements of a block belong to groups, and so where coefficients and sums are found.
//   planes   each row holds `groups` planes of `length` elements; one coefficient, one sum a group
//   columns  each row holds groups * length columns; one coefficient, one sum a column
enum class Scheme { planes, columns };
constexpr int scheme_count = 2;
constexpr int max_planes = 16;       // groups of a block of planes
constexpr int max_coefficients = 5;  // of a group, beside the value that sums are taken about

// Arrays, or where a block begins in them. Null where a pass has none.
struct NormalizationArrays {
  const void* x;
  const void* z;  // what is added to the result
  const void* dy;
  void* result;  // y, or dx
  void* dz;
  std::uint16_t* mask;  // a bit for each element, sixteen a word; planes and rows of columns are padded to words
};

// Rows of an array, `stride` elements apart. All pointers are at the block's first element, group or column.
struct NormalizationBlock {
  std::int64_t rows, stride, groups, length;
  NormalizationArrays arrays;
  std::int64_t mask_stride;        // words from row to row
  std::int64_t mask_plane_stride;  // words from plane to plane

  // Per group or column.
  const double* about;  // what is subtracted from x in sums
  const void* coefficients[max_coefficients];
  double *first, *second;  // the two sums; those of columns are added to what is there

  bool prefetching;  // whether what is read comes from memory
  bool streaming;    // whether what is written goes there
};

using NormalizationKernel = void (*)(const NormalizationBlock&);

// One pass over the elements: a reduction, which sums up, or an application, which writes.
struct NormalizationPass {
  NormalizationKernel kernels[scheme_count][dtype_count];
  int coefficients;  // how many it reads, from the first
};

struct NormalizationKernels {
  // Adds, for each of so many groups, the sums of its `length` neighbouring columns to its totals.
  void (*columns_to_groups)(const double* first, const double* second, std::int64_t groups, std::int64_t length,
                            double* first_total, double* second_total);
};

// --- Batch normalisation.

// What is done beside it in the same pass: y = bn(x), max(bn(x), 0), bn(x) + z, max(bn(x) + z, 0).
enum class Fused { plain, relu, add, add_relu };
constexpr int fused_count = 4;
constexpr bool adds(Fused fused) { return fused == Fused::add || fused == Fused::add_relu; }

// The place of each coefficient, those that most passes read first:
//   y = (x - center) scale + shift;  dx = ((dy + offset) + slope (x - center)) scale
struct BatchNormCoefficient {
  enum { scale, center, shift, slope, offset };
};

struct BatchNormKernels {
  NormalizationPass moments;  // sums of x - about and its square
  NormalizationPass forward[fused_count];
  NormalizationPass backward_sums[fused_count];  // of dy and dy (x - about), dy being that before what is fused
  NormalizationPass backward[fused_count];
  NormalizationPass backward_evaluation[fused_count];  // where the statistics are constants
};

// --- Dropout.

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

// --- The one list of layers: what each exports into the table of an instruction set. layers.hpp fills it.
struct LayerKernels {
  NormalizationKernels normalization;  // what normalising layers share
  BatchNormKernels batch_norm;
  DropoutKernels dropout;
};

}  // namespace ravine
