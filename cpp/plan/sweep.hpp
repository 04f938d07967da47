// How threads go through many tensors, one after the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "threads/threads.hpp"

namespace ravine {

// Parts begin at multiples of this within a tensor, or of more, so that threads rarely share a cache line.
constexpr std::int64_t elements_per_line = 16;

// How many elements there are in the run of all tensors. Each has its place in it: `start` and `size`, in elements.
template <class Tensor>
std::int64_t total_of(const std::vector<Tensor>& run) {
  return run.empty() ? 0 : run.back().start + run.back().size;
}

// Calls work(tensor, begin, end) for parts of the run of all. A part begins at a multiple of block_of(tensor) elements
// of its tensor.
template <class Tensor, class BlockOf, class Work>
void sweep(const std::vector<Tensor>& run, threads::Share share, const BlockOf& block_of, const Work& work) {
  constexpr std::int64_t elements_per_part = 1 << 13;  // or more where there would be too many parts
  if (run.empty()) return;
  threads::run_in_parts(total_of(run), elements_per_part, share, [&](std::int64_t part_begin, std::int64_t part_end) {
    const auto after = std::upper_bound(run.begin(), run.end(), part_begin,
                                        [](std::int64_t at, const Tensor& tensor) { return at < tensor.start; });
    for (auto next = after - (after != run.begin()); next != run.end() && next->start < part_end; ++next) {
      const Tensor& tensor = *next;
      const std::int64_t block = block_of(tensor);
      const auto boundary = [&](std::int64_t position) {
        const std::int64_t local = position - tensor.start;
        if (local <= 0) return std::int64_t(0);
        if (local >= tensor.size) return tensor.size;
        return local / block * block;
      };
      const std::int64_t begin = boundary(part_begin), end = boundary(part_end);
      if (begin < end) work(tensor, begin, end);
    }
  });
}

}  // namespace ravine
