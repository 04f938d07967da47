// The walk of a kernel over blocks that stay in the first-level cache, for what stages do before and after it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "stages/kernels.hpp"

namespace ravine {

constexpr int max_staged = 3 + max_states;  // parameter, gradient and average beside the states

// Room for the arrays of a block, as the rule works on them. Grows where it has to, and is used again.
class BlockRoom {
 public:
  // An array of so many bytes, `k` telling those of one block apart.
  void* array(int k, std::size_t bytes) {
    std::vector<std::byte>& room = arrays_[k];
    if (room.size() < bytes + line) room.resize(bytes + line);
    void* begin = room.data();
    std::size_t space = room.size();
    return std::align(line, bytes, begin, space);
  }

 private:
  static constexpr std::size_t line = 64;
  std::vector<std::byte> arrays_[max_staged];
};

// Elements of a block where the kernel does not need larger ones.
constexpr std::int64_t elements_per_stage_block = 1 << 10;

// Calls the kernel for the elements [begin, end), in blocks of a multiple of `block` elements, between the stages;
// after each, before anything is stored, also then(piece, begin, end), the arrays of the piece being where the kernel
// saw them.
template <class Then>
void run_in_blocks(Kernel kernel, const Coefficients& coefficients, const Arrays& arrays, Dtype dtype,
                   const Stages& stages, std::int64_t block, std::int64_t begin, std::int64_t end, const Then& then) {
  static thread_local BlockRoom room;
  const std::int64_t item = item_size(dtype);
  const std::int64_t elements = std::max(elements_per_stage_block / block, std::int64_t(1)) * block;
  Arrays piece = arrays;
  struct Staged {
    const Stage* stage;
    std::byte* memory;
    void** place;  // in `piece`
    std::byte* room;
  } staged[max_staged];
  int count = 0;
  const auto add = [&](const Stage& stage, const void* memory, void** place) {
    if (!memory || !stage.exists()) return;
    const auto bytes = std::size_t(std::min(elements, end - begin) * item);
    staged[count] = {&stage, static_cast<std::byte*>(const_cast<void*>(memory)), place,
                     stage.load ? static_cast<std::byte*>(room.array(count, bytes)) : nullptr};
    ++count;
  };
  add(stages.parameter, arrays.parameter, &piece.parameter);
  add(stages.gradient, arrays.gradient, const_cast<void**>(&piece.gradient));
  for (int k = 0; k < max_states; ++k) add(stages.states[k], arrays.states[k], &piece.states[k]);
  add(stages.average, arrays.average, &piece.parameter);

  for (std::int64_t next; begin < end; begin = next) {
    next = std::min(begin + elements, end);
    for (int k = 0; k < count; ++k) {
      const auto& [stage, memory, place, copy] = staged[k];
      if (!stage->load) continue;
      stage->load(memory + begin * stage->item_size, next - begin, *stage, copy);
      *place = copy - begin * item;  // the kernel counts from the tensor's beginning
    }
    kernel(coefficients, piece, begin, next);
    then(static_cast<const Arrays&>(piece), begin, next);
    for (int k = 0; k < count; ++k) {
      const auto& [stage, memory, place, copy] = staged[k];
      if (!stage->store) continue;
      const std::byte* const made = static_cast<std::byte*>(*place) + begin * item;
      stage->store(made, next - begin, *stage, memory + begin * stage->item_size);
    }
  }
}

inline void run_in_blocks(Kernel kernel, const Coefficients& coefficients, const Arrays& arrays, Dtype dtype,
                          const Stages& stages, std::int64_t block, std::int64_t begin, std::int64_t end) {
  run_in_blocks(kernel, coefficients, arrays, dtype, stages, block, begin, end,
                [](const Arrays&, std::int64_t, std::int64_t) {});
}

// A kernel with the stages around it. Without any it runs straight over memory.
struct StagedKernel {
  Kernel kernel;
  const Coefficients& coefficients;
  Dtype dtype;
  const Stages* stages;  // or null

  void operator()(const Arrays& arrays, std::int64_t block, std::int64_t begin, std::int64_t end) const {
    if (stages && stages->exist())
      run_in_blocks(kernel, coefficients, arrays, dtype, *stages, block, begin, end);
    else
      kernel(coefficients, arrays, begin, end);
  }
};

}  // namespace ravine
