#include "plan/dropout.hpp"

#include <algorithm>
#include <cstring>

#include "isa/select.hpp"
#include "plan/measures.hpp"
#include "plan/memory.hpp"
#include "threads/threads.hpp"

namespace ravine {
namespace {

constexpr std::int64_t words_per_block = random_block / lanes;
constexpr std::int64_t blocks_per_part = 64;

std::int64_t words_of_sample(const DropoutShape& shape) { return divide_up(shape.channels, lanes); }

class Application {
 public:
  Application(const Dropout& work, const Random* random)
      : work_(work),
        bytes_(work.shape.size * item_size(work.shape.dtype)),
        share_(threads::share_of(2 * bytes_ * (random ? slower_than_a_step : 1))),
        random_(random) {}

  // Drawn and applied while the piece of the mask is in the nearest cache.
  void elements() const {
    const std::int64_t blocks = divide_up(work_.shape.size, random_block);
    threads::run_in_parts(blocks, blocks_per_part, share_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t block = begin; block < end; block += blocks_per_part) {
        const std::int64_t element = block * random_block;
        const std::int64_t elements = std::min(blocks_per_part, end - block) * random_block;
        Random random{};
        if (random_) random = {random_->seed, random_->counter + std::uint64_t(block) * lanes, random_->threshold};
        apply(element, std::min(elements, work_.shape.size - element), work_.mask + block * words_per_block,
              random_ ? &random : nullptr);
      }
    });
  }

  void channels() const {
    const DropoutShape& shape = work_.shape;
    if (random_) isa::active().layers->dropout.draw(*random_, shape.mask_words() / words_per_block, work_.mask);
    if (shape.channels_last) {
      const std::int64_t rows_per_part = std::max(blocks_per_part * random_block / shape.channels, std::int64_t(1));
      threads::run_in_parts(
          shape.samples * shape.length, rows_per_part, share_, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t row = begin; row < end; ++row)
              apply(row * shape.channels, shape.channels, work_.mask + row / shape.length * words_of_sample(shape));
          });
      return;
    }
    const std::int64_t planes_per_part = std::max(blocks_per_part * random_block / shape.length, std::int64_t(1));
    threads::run_in_parts(
        shape.samples * shape.channels, planes_per_part, share_, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t plane = begin; plane < end; ++plane) {
            const std::int64_t channel = plane % shape.channels;
            const std::int64_t word = plane / shape.channels * words_of_sample(shape) + channel / lanes;
            if (work_.mask[word] >> channel % lanes & 1)
              apply(plane * shape.length, shape.length, nullptr);
            else
              std::memset(at(work_.y, plane * shape.length), 0, std::size_t(shape.length * item_size(shape.dtype)));
          }
        });
  }

 private:
  template <class T>
  T* at(T* array, std::int64_t element) const {
    using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
    return static_cast<Byte*>(array) + element * item_size(work_.shape.dtype);
  }

  void apply(std::int64_t element, std::int64_t n, std::uint16_t* mask, const Random* random = nullptr) const {
    DropoutRun run{};
    run.x = at(work_.x, element);
    run.y = at(work_.y, element);
    run.mask = mask;
    run.random = random;
    run.n = n;
    run.scale = work_.scale;
    run.shift = work_.shift;
    run.dropped = work_.dropped;
    run.prefetching = memory::is_large(bytes_);
    run.streaming = memory::is_huge(bytes_);
    isa::active().layers->dropout.apply[int(work_.shape.dtype)](run);
  }

  Dropout work_;
  std::int64_t bytes_;
  threads::Share share_;
  const Random* random_;
};

}  // namespace

std::int64_t DropoutShape::mask_words() const {
  const std::int64_t words = of_channels ? samples * words_of_sample(*this) : divide_up(size, lanes);
  return divide_up(words, words_per_block) * words_per_block;
}

std::uint64_t DropoutShape::counters() const { return std::uint64_t(mask_words() / words_per_block) * lanes; }

void run(const Dropout& work, const Random* random) {
  if (work.shape.size == 0) return;
  const Application application(work, random);
  work.shape.of_channels ? application.channels() : application.elements();
}

}  // namespace ravine
