#include "bindings/parameters.hpp"

#include <algorithm>

namespace ravine::bindings {
namespace {

// The gradient copied into the parameter's memory order. The room for it is kept for the next step.
py::object reordered(Parameter& parameter, const py::object& gradient) {
  const py::module_ numpy = py::module_::import("numpy");
  const py::array& array = parameter.array.array();
  py::object& room = parameter.reordered;
  if (!room || !same_order(room, array) || !same_shape(room, array))
    room = numpy.attr("empty_like")(array, py::arg("subok") = false);
  numpy.attr("copyto")(room, gradient);
  return room;
}

}  // namespace

void Parameters::find_written() {
  written_.clear();
  const auto add = [this](const Pinned& array) {
    const auto* begin = static_cast<const char*>(array.data());
    if (array.size() > 0) written_.push_back({begin, begin + array.bytes(), &array.label()});
  };
  for (Parameter& parameter : all) {
    parameter.clear = nullptr;
    add(parameter.array);
    for (const Pinned& state : parameter.states) add(state);
  }
  std::sort(written_.begin(), written_.end());
}

void Parameters::take_gradient(std::size_t i, py::handle given, Plan::Tensor& tensor, const Plan::Group& group) {
  Parameter& parameter = all[i];
  parameter.gradient = gradient_for(parameter, given);
  tensor.rows.reset();
  if (parameter.gradient && !is_array(parameter.gradient))
    take_sparse(parameter, tensor, group);
  else
    tensor.arrays.gradient = parameter.gradient ? fields(parameter.gradient).data : nullptr;
}

void Parameters::release_gradients() {
  for (Parameter& parameter : all) {
    parameter.gradient = parameter.original = py::object();
    parameter.sparse.release();
  }
}

py::object Parameters::as_gradient(py::handle given, const Parameter& parameter) const {
  return py::module_::import("ravine._sparse").attr("as_gradient")(given, where(parameter));
}

// An array with the gradient's values, laid out as the parameter, that stays valid while it is held. Null: none. A
// SparseGrad comes back as it is.
py::object Parameters::gradient_for(Parameter& parameter, py::handle given) {
  if (given.is_none()) return py::object();
  parameter.array.check_unchanged();
  for (const Pinned& state : parameter.states) state.check_unchanged();
  py::object gradient = is_array(given) ? py::reinterpret_borrow<py::object>(given) : as_gradient(given, parameter);
  if (!is_array(gradient)) return gradient;
  const py::array& array = parameter.array.array();
  if (!same_dtype(gradient, array) || !same_shape(gradient, array))
    throw py::value_error(where(parameter) + ": its gradient is " + describe(gradient) + "; expected " +
                          describe(array) + ". Convert it with grad.astype(...) or grad.reshape(...).");
  if (!(fields(gradient).flags & aligned) || !same_order(gradient, array)) {
    parameter.original = gradient;
    return reordered(parameter, gradient);
  }

  if (fields(gradient).data != parameter.clear) {
    check_overlap(parameter, gradient);
    parameter.clear = fields(gradient).data;
  }
  return gradient;
}

// Gives the plan what it needs of the SparseGrad that has come for a parameter.
void Parameters::take_sparse(Parameter& parameter, Plan::Tensor& tensor, const Plan::Group& group) {
  check_rule_is_sparse(where(parameter), tensor.rule, group);
  const py::object values = parameter.sparse.take(where(parameter), parameter.array, parameter.gradient);
  check_overlap(parameter, values);
  parameter.gradient = values;
  tensor.rows = parameter.sparse.rows();
  tensor.arrays.gradient = parameter.sparse.values();
}

void Parameters::check_overlap(const Parameter& parameter, py::handle gradient) const {
  const auto [begin, end] = extent(gradient);
  const auto after = std::upper_bound(written_.begin(), written_.end(), begin,
                                      [](const char* at, const Interval& interval) { return at < interval.end; });
  if (begin < end && after != written_.end() && after->begin < end)
    throw py::value_error(where(parameter) + ": its gradient shares memory with " + *after->label +
                          ", which the step writes to. Pass a copy of the gradient.");
}

std::vector<py::object> Parameters::check_can_be_zeroed() const {
  std::vector<py::object> copied;
  std::vector<Interval> intervals;
  for (const Parameter& parameter : all) {
    if (!parameter.gradient) continue;
    const bool is_copy = bool(parameter.original);
    const py::object array = is_copy ? parameter.original : parameter.gradient;
    if (is_copy) check_overlap(parameter, array);
    if (!(fields(array).flags & writeable))
      throw py::value_error(where(parameter) + ": its gradient is read-only and cannot be set to zero. Pass a copy, " +
                            "or leave zeroing out.");
    if (is_copy || parameter.sparse.is_summed(array)) copied.push_back(array);
    const auto [low, high] = extent(array);
    if (low < high) intervals.push_back({low, high, &parameter.array.label()});
  }
  std::sort(intervals.begin(), intervals.end());
  for (std::size_t k = 1; k < intervals.size(); ++k)
    if (intervals[k].begin < intervals[k - 1].end)
      throw py::value_error(owner_ + ": the gradients of " + *intervals[k - 1].label + " and " + *intervals[k].label +
                            " share memory, and cannot be set to zero one by one. Pass copies, or leave zeroing out.");
  return copied;
}

}  // namespace ravine::bindings
