// Sparse gradients as they come from Python (ravine/_sparse.py).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "plan/plan.hpp"

namespace ravine::bindings {

// Throws where a step of a rule, or the weight decay of its group, changes rows that a gradient does not name. `where`
// begins the message.
void check_rule_is_sparse(const std::string& where, int rule, const Plan::Group& group);

// What a step takes of a parameter's SparseGrad. Its room is kept for the next step.
class SparseGradient {
 public:
  // Checks a SparseGrad and makes it ready, coalesced where it is not. Returns the array of its values, to be held.
  py::object take(const std::string& where, const Pinned& parameter, const py::object& gradient);

  const void* values() const { return values_; }
  // To be called when the step is over.
  void release() { values_ = nullptr; }

  Rows rows() const { return {rows_.data(), std::int64_t(rows_.size()), length_}; }

  // Whether what a step reads are sums rather than these values, which came.
  bool is_summed(py::handle values) const { return values_ && values_ != fields(values).data; }

 private:
  std::vector<std::int64_t> rows_;  // a copy, which nobody changes during the step
  std::int64_t length_ = 0;
  const void* values_ = nullptr;
  Coalescing coalescing_;
  std::vector<std::byte> sums_;  // of repeated rows
};

}  // namespace ravine::bindings
