// The parameters of a plan as they come from Python, and the gradients that come for them at a step.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/sparse.hpp"
#include "plan/plan.hpp"

namespace ravine::bindings {

// What is known of a parameter beside the plan's tensor.
struct Parameter {
  Parameter(Pinned pinned, py::array_t<std::int64_t> steps) : array(std::move(pinned)), step_count(std::move(steps)) {}

  Pinned array;
  py::array_t<std::int64_t> step_count;
  std::vector<Pinned> states;
  std::vector<py::array_t<double>> carried;
  py::object gradient;   // held during a step, while the interpreter may run other threads
  py::object original;   // the gradient in another memory order that was copied
  py::object reordered;  // room for such copies
  SparseGradient sparse;
  const char* clear = nullptr;  // where a gradient last was, sharing no memory with what steps write
};

class Parameters {
 public:
  explicit Parameters(std::string owner) : owner_(std::move(owner)) {}

  std::vector<Parameter> all;

  // To be called whenever arrays of a state have changed: finds all memory that a step writes to. Python has made sure
  // that none of it overlaps.
  void find_written();

  // Checks the gradient that has come for a parameter, and gives the tensor what a step needs of it. None: no gradient.
  void take_gradient(std::size_t i, py::handle given, Plan::Tensor& tensor, const Plan::Group& group);

  void release_gradients();

  // Makes sure that every gradient of this step can be set to zero. Returns those that the step reads a copy of, which
  // are to be set to zero after it.
  std::vector<py::object> check_can_be_zeroed() const;

 private:
  struct Interval {
    const char* begin;
    const char* end;
    const std::string* label;

    bool operator<(const Interval& other) const { return begin < other.begin; }
  };

  std::string where(const Parameter& parameter) const { return owner_ + ": " + parameter.array.label(); }
  py::object as_gradient(py::handle given, const Parameter& parameter) const;
  py::object gradient_for(Parameter& parameter, py::handle given);
  void take_sparse(Parameter& parameter, Plan::Tensor& tensor, const Plan::Group& group);
  void check_overlap(const Parameter& parameter, py::handle gradient) const;

  std::string owner_;
  std::vector<Interval> written_;  // in order of address
};

}  // namespace ravine::bindings
