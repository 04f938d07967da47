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
  // Takes hold of a SparseGrad's parts, which may run code of a class of users.
  void hold(const std::string& where, const py::object& gradient);

  // Whether there is one.
  explicit operator bool() const { return bool(gradient_); }

  // Checks it and makes it ready, coalesced where it is not. Runs no code of users.
  void take(const std::string& where, const Pinned& parameter);

  // To be called when the step is over.
  void release();

  const py::object& array() const { return array_; }
  const void* values() const { return values_; }

  Rows rows() const { return {rows_.data(), std::int64_t(rows_.size()), length_}; }

  // Whether what a step reads are sums rather than the values that came.
  bool is_summed() const { return values_ && values_ != fields(array_).data; }

  template <class Visit>
  void visit(Visit&& each) const {
    for (const py::object* held : {&gradient_, &named_, &array_}) each(*held);
  }

 private:
  py::object gradient_, named_, array_;  // the SparseGrad, its rows and its values
  std::vector<py::ssize_t> shape_;
  std::vector<std::int64_t> rows_;  // a copy, which nobody changes during the step
  std::int64_t length_ = 0;
  const void* values_ = nullptr;
  Coalescing coalescing_;
  std::vector<std::byte> sums_;  // of repeated rows
};

}  // namespace ravine::bindings
