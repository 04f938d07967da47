// The parameters of a plan as they come from Python, and the gradients that come for them at a step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/sparse.hpp"
#include "plan/plan.hpp"

namespace ravine::bindings {

// What is known of a parameter beside the plan's tensor.
struct Parameter {
  Parameter(Pinned pinned, py::object steps) : array(std::move(pinned)), step_count(std::move(steps)) {}

  template <class Visit>
  void visit(Visit&& each) const {
    array.visit(each);
    for (const Pinned& state : states) state.visit(each);
    if (average) average->visit(each);
    for (const py::object& number : carried) each(number);
    for (const py::object* held : {&step_count, &gradient, &original, &reordered}) each(*held);
    sparse.visit(each);
  }

  Pinned array;
  py::object step_count;
  std::vector<Pinned> states;
  std::vector<py::object> carried;
  std::optional<Pinned> average;
  py::object gradient;     // held during a step, while the interpreter may run other threads
  bool is_tensor = false;  // whether that is a tensor of another library, to be seen at a glance
  py::object original;     // the gradient in another memory order that was copied
  py::object reordered;    // room for such copies
  SparseGradient sparse;
  const char* clear = nullptr;  // where a gradient last was, sharing no memory with what steps write
};

class Parameters {
 public:
  explicit Parameters(std::string owner) : owner_(std::move(owner)) {}

  std::vector<Parameter> all;
  std::vector<std::size_t> frozen;  // the positions, increasing, of those that steps leave alone

  // To be called whenever arrays of a state have changed: finds all memory that a step writes to. Python has made sure
  // that none of it overlaps.
  void find_written();

  // Holds the gradient that has come for a parameter, as an array, a SparseGrad or a tensor to be seen at a glance,
  // which may run code of users. None: no gradient. `zero`: the step will set it to zero. `alone`: until the step is
  // done nothing else runs, so that nobody can free a tensor's memory meanwhile; else an array holds it.
  void hold_gradient(std::size_t i, py::handle given, bool zero, bool alone);

  // Checks the gradient of a parameter, and the arrays that its step writes to, and gives the tensor what a step needs.
  // To be called when all are held: it runs no code of users, so that what it has seen stays as it is. Returns false
  // where a tensor does not fit at a glance; then look_twice() at all, and take all of them again.
  bool take_gradient(std::size_t i, Plan::Tensor& tensor, const Plan::Group& group);

  // Makes arrays of the tensors that do not fit, or errors that say why, which may run code of users.
  void look_twice(bool zero);

  // Makes sure that the parameter and its average are as they were, with a gradient or without.
  void check_average(std::size_t i) const;

  void release_gradients();

  // Makes sure that every gradient of this step can be set to zero. Returns those that the step itself does not write
  // to, since it reads a copy or the parameter is frozen: they are to be set to zero after it.
  std::vector<py::object> check_can_be_zeroed() const;

  // Whether steps leave a parameter alone though it has a gradient.
  bool is_frozen(std::size_t i) const { return std::binary_search(frozen.begin(), frozen.end(), i); }

 private:
  struct Interval {
    const char* begin;
    const char* end;
    const std::string* label;

    bool operator<(const Interval& other) const { return begin < other.begin; }
  };

  std::string where(const Parameter& parameter) const { return owner_ + ": " + parameter.array.label(); }
  void take_dense(Parameter& parameter, Plan::Tensor& tensor);
  void hold_converted(Parameter& parameter, py::handle given, bool zero);
  bool take_tensor(Parameter& parameter, Plan::Tensor& tensor);
  void take_sparse(Parameter& parameter, Plan::Tensor& tensor, const Plan::Group& group);
  void check_overlap(const Parameter& parameter, py::handle gradient) const;
  void check_overlap(const Parameter& parameter, const char* begin, const char* end) const;

  std::string owner_;
  std::vector<Interval> written_;  // in order of address
};

}  // namespace ravine::bindings
