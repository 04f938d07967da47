// Normalisation of a whole array: which blocks, in which order, by which thread. A layer says which elements belong to
// a group, and what is computed for each group between the passes. Knows nothing of Python.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/kernels.hpp"

namespace ravine {

// An array as (outer, groups, inner): element (o, g, i) stands at (o * groups + g) * inner + i. Group g has the
// statistics of its elements over o and i. Of batch norm, channels-first arrays are (N, C, L), channels-last and 2-d
// ones (N L, C, 1). Layer norm would be (1, N, L).
struct GroupedShape {
  std::int64_t outer, groups, inner;
  Dtype dtype;

  std::int64_t size() const { return outer * groups * inner; }
  std::int64_t bytes() const { return size() * item_size(dtype); }
  std::int64_t elements_of_group() const { return outer * inner; }
  std::int64_t mask_words() const;  // of a mask with a bit for each element
};

// What a layer computes for each group in [begin, end). Other threads may be at other groups meanwhile.
class GroupFormula {
 public:
  // Before the reduction: what the sums are taken about, and the coefficients that the reduction reads.
  virtual void start(std::int64_t begin, std::int64_t end) = 0;

  // After it: the coefficients that the application reads, from the sums of each group.
  virtual void finish(std::int64_t begin, std::int64_t end, const double* first, const double* second) = 0;

 protected:
  ~GroupFormula() = default;
};

// The passes over an array of V, block by block.
template <class V>
class Normalization {
 public:
  Normalization(const GroupedShape& shape, const NormalizationArrays& arrays);

  // The coefficients of all groups, in the type of the elements.
  std::vector<V> coefficients[max_coefficients];

  void apply(const NormalizationPass& application) const;

  // The sums are of x about the values of each group in `about`, which the formula may set.
  void reduce_then_apply(const NormalizationPass& reduction, const double* about, GroupFormula& formula,
                         const NormalizationPass& application) const;

 private:
  GroupedShape shape_;
  NormalizationArrays arrays_;
};

}  // namespace ravine
