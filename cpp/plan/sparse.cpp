#include "plan/sparse.hpp"

#include <algorithm>
#include <array>

#include "plan/measures.hpp"
#include "prefetch.hpp"
#include "threads/threads.hpp"

namespace ravine {
namespace {

// Shorter rows are copied together: a call of the kernel for each would cost more than what it computes.
constexpr std::int64_t short_length = 33;
constexpr std::int64_t elements_together = 512;

// How many rows ahead of the one that is updated memory is asked for, and how many bytes of each: what comes after them
// the processor sees coming.
constexpr std::int64_t rows_ahead = 2;
constexpr std::uintptr_t bytes_ahead = 512;

// Threads share sums out in parts of this many elements, or more where there would be too many.
constexpr std::int64_t elements_per_part = 1 << 13;

// Asks for the beginning of a row.
template <class V>
RAVINE_INLINE void expect(const V* row, std::int64_t length) {
  const std::uintptr_t bytes = std::min(bytes_ahead, std::uintptr_t(length) * sizeof(V));
  prefetch_lines(reinterpret_cast<std::uintptr_t>(row), bytes);
}

template <class V>
void copy_row(const V* from, std::int64_t length, V* to) {
  if (length == 1)
    *to = *from;
  else
    std::copy_n(from, length, to);
}

// The update of one parameter, with V the type of its elements.
template <class V>
class Update {
 public:
  Update(const StagedKernel& kernel, const Arrays& arrays, const Rows& rows)
      : kernel_(kernel), values_(static_cast<const V*>(arrays.gradient)), rows_(rows) {
    tables_[count_++] = static_cast<V*>(arrays.parameter);
    for (void* state : arrays.states)
      if (state) tables_[count_++] = static_cast<V*>(state);
  }

  void run(std::int64_t begin, std::int64_t end) const {
    const std::int64_t length = rows_.length;
    if (begin >= end) return;
    if (length < short_length)  // where the run is cut within a row, this goes to the part that it begins in
      run_short(divide_up(begin, length), divide_up(end, length));
    else
      run_long(begin, end);
  }

 private:
  // Rows, by their places among the named ones.
  void run_short(std::int64_t first, std::int64_t last) const {
    const std::int64_t length = rows_.length;
    V together[1 + max_states][elements_together];
    V* copies[1 + max_states];
    for (int k = 0; k < count_; ++k) copies[k] = together[k];
    for (std::int64_t next; first < last; first = next) {
      next = std::min(last, first + elements_together / length);
      if (rows_.index[next - 1] - rows_.index[first] == next - 1 - first) {  // they lie together already
        V* in_place[1 + max_states];
        for (int k = 0; k < count_; ++k) in_place[k] = tables_[k] + rows_.index[first] * length;
        call(in_place, first * length, next * length);
        continue;
      }
      for (int k = 0; k < count_; ++k)
        for (std::int64_t row = first; row < next; ++row)
          copy_row(tables_[k] + rows_.index[row] * length, length, copies[k] + (row - first) * length);
      call(copies, first * length, next * length);
      for (int k = 0; k < count_; ++k)
        for (std::int64_t row = first; row < next; ++row)
          copy_row(copies[k] + (row - first) * length, length, tables_[k] + rows_.index[row] * length);
    }
  }

  // Elements [begin, end) of the run of all named rows.
  void run_long(std::int64_t begin, std::int64_t end) const {
    const std::int64_t length = rows_.length;
    const std::int64_t last = divide_up(end, length);
    for (std::int64_t row = begin / length; begin < end;) {
      V* in_place[1 + max_states];
      for (int k = 0; k < count_; ++k) in_place[k] = tables_[k] + (rows_.index[row] - row) * length + begin;
      ++row;
      while (row < last && rows_.index[row] == rows_.index[row - 1] + 1) ++row;  // neighbours are one piece
      if (row - 1 + rows_ahead < last)
        for (int k = 0; k < count_; ++k) expect(tables_[k] + rows_.index[row - 1 + rows_ahead] * length, length);
      const std::int64_t stop = std::min(end, row * length);
      call(in_place, begin, stop);
      begin = stop;
    }
  }

  // Updates what begins at `arrays`, the parameter's and the states', with values [begin, end).
  void call(V* const* arrays, std::int64_t begin, std::int64_t end) const {
    Arrays piece{};
    piece.parameter = arrays[0];
    piece.gradient = values_ + begin;
    std::copy_n(arrays + 1, count_ - 1, piece.states);
    kernel_(piece, 1, 0, end - begin);
  }

  const StagedKernel& kernel_;
  const V* values_;
  const Rows& rows_;
  V* tables_[1 + max_states];  // the parameter and its states
  int count_ = 0;
};

}  // namespace

bool is_increasing(const std::int64_t* rows, std::int64_t count) {
  for (std::int64_t i = 1; i < count; ++i)
    if (rows[i] <= rows[i - 1]) return false;
  return true;
}

void update_rows(const StagedKernel& kernel, const Arrays& arrays, const Rows& rows, std::int64_t begin,
                 std::int64_t end) {
  if (kernel.dtype == Dtype::float32)
    Update<float>(kernel, arrays, rows).run(begin, end);
  else
    Update<double>(kernel, arrays, rows).run(begin, end);
}

// Sorts by the digits of the rows, the lowest first; each pass is stable.
void Coalescing::sort(const std::int64_t* rows, std::int64_t count) {
  constexpr int digit_bits = 10;
  constexpr std::uint64_t digits = std::uint64_t(1) << digit_bits;
  entries_.resize(count);
  spare_.resize(count);
  std::uint64_t used = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    entries_[i] = {rows[i], i};
    used |= std::uint64_t(rows[i]) ^ std::uint64_t(rows[0]);
  }
  for (int shift = 0; shift < 64 && used >> shift; shift += digit_bits) {
    // With the sign bit turned round, negative numbers come first.
    const auto digit = [&](const Entry& entry) {
      return ((std::uint64_t(entry.row) ^ (std::uint64_t(1) << 63)) >> shift) % digits;
    };
    std::array<std::int64_t, digits> next{};
    for (const Entry& entry : entries_) ++next[digit(entry)];
    std::int64_t start = 0;
    for (std::int64_t& place : next) {
      const std::int64_t here = place;
      place = start;
      start += here;
    }
    for (const Entry& entry : entries_) spare_[next[digit(entry)]++] = entry;
    entries_.swap(spare_);
  }

  rows_.clear();
  starts_.clear();
  for (std::int64_t i = 0; i < count; ++i) {
    if (i > 0 && entries_[i].row == entries_[i - 1].row) continue;
    rows_.push_back(entries_[i].row);
    starts_.push_back(i);
  }
  starts_.push_back(count);
}

template <class V>
void Coalescing::sum_as(const V* values, std::int64_t length, V* sums) const {
  const auto count = std::int64_t(rows_.size());
  const auto bytes = std::int64_t(entries_.size() + rows_.size()) * length * std::int64_t(sizeof(V));
  const std::int64_t rows_per_part = std::max(std::int64_t(1), elements_per_part / std::max(std::int64_t(1), length));
  threads::run_in_parts(count, rows_per_part, threads::share_of(bytes), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      V* const sum = sums + row * length;
      if (row + rows_ahead < end) expect(values + entries_[starts_[row + rows_ahead]].position * length, length);
      copy_row(values + entries_[starts_[row]].position * length, length, sum);
      for (std::int64_t entry = starts_[row] + 1; entry < starts_[row + 1]; ++entry) {
        const V* const added = values + entries_[entry].position * length;
        for (std::int64_t i = 0; i < length; ++i) sum[i] += added[i];
      }
    }
  });
}

void Coalescing::sum(Dtype dtype, const void* values, std::int64_t length, void* sums) const {
  if (dtype == Dtype::float32)
    sum_as(static_cast<const float*>(values), length, static_cast<float*>(sums));
  else
    sum_as(static_cast<const double*>(values), length, static_cast<double*>(sums));
}

}  // namespace ravine
