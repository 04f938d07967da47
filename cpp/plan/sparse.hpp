// Sparse gradients: values for some rows of a table. Knows nothing of Python.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/blocks.hpp"

namespace ravine {

// The rows that a gradient has values for, each once and increasing. The values lie one row after the other.
struct Rows {
  const std::int64_t* index;
  std::int64_t count;
  std::int64_t length;  // of a row, in elements

  std::int64_t elements() const { return count * length; }
};

// Whether rows are each named once, in increasing order.
bool is_increasing(const std::int64_t* rows, std::int64_t count);

// Updates the elements [begin, end) of the run of all named rows. The gradient of `arrays` are their values; parameter
// and states are whole tables.
void update_rows(const StagedKernel& kernel, const Arrays& arrays, const Rows& rows, std::int64_t begin,
                 std::int64_t end);

// How entries that name rows in any order, and more than once, come together. Its room is kept for the next time.
class Coalescing {
 public:
  void sort(const std::int64_t* rows, std::int64_t count);

  // What was sorted: each row once, increasing.
  const std::vector<std::int64_t>& rows() const { return rows_; }

  // Adds up the values of each row's entries, in the order given.
  void sum(Dtype dtype, const void* values, std::int64_t length, void* sums) const;

 private:
  struct Entry {
    std::int64_t row, position;
  };

  template <class V>
  void sum_as(const V* values, std::int64_t length, V* sums) const;

  std::vector<Entry> entries_, spare_;
  std::vector<std::int64_t> rows_, starts_;  // of the entries of each row; at last their number
};

}  // namespace ravine
