#include "bindings/parameters.hpp"

#include <algorithm>

#include "bindings/exchange.hpp"
#include "bindings/interpreter.hpp"

namespace ravine::bindings {
namespace {

// The gradient copied into the parameter's memory order. The room for it is kept for the next step.
py::object reordered(Parameter& parameter, const py::object& gradient) {
  const py::array& array = parameter.array.array();
  py::object& room = parameter.reordered;
  if (!room || !same_order(room, array) || !same_shape(room, array) || !same_dtype(room, array)) {
    const auto& f = fields(array);
    room = py::array(array.dtype(), std::vector<py::ssize_t>(f.dimensions, f.dimensions + f.nd),
                     std::vector<py::ssize_t>(f.strides, f.strides + f.nd));
  }
  copy_into(room, gradient);
  return room;
}

// An array over the memory of a gradient that is a tensor.
py::object shown(const Parameter& parameter) {
  const auto& f = fields(parameter.array.array());
  return py::array(parameter.array.array().dtype(), std::vector<py::ssize_t>(f.dimensions, f.dimensions + f.nd),
                   std::vector<py::ssize_t>(f.strides, f.strides + f.nd), parameter.clear, parameter.gradient);
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
    if (parameter.average) add(*parameter.average);
  }
  std::sort(written_.begin(), written_.end());
}

void Parameters::hold_gradient(std::size_t i, py::handle given, bool zero, bool alone) {
  Parameter& parameter = all[i];
  parameter.is_tensor = false;
  if (given.is_none()) return;
  if (is_array(given)) {
    parameter.gradient = py::reinterpret_borrow<py::object>(given);
    return;
  }
  if (can_be_seen(given)) {
    parameter.is_tensor = alone && !(zero && (is_frozen(i) || !can_be_written(given)));
    parameter.gradient = parameter.is_tensor ? py::reinterpret_borrow<py::object>(given) : held_array(given);
    if (parameter.gradient) return;
  }
  hold_converted(parameter, given, zero);
}

void Parameters::hold_converted(Parameter& parameter, py::handle given, bool zero) {
  parameter.is_tensor = false;
  parameter.gradient = in_python([&] {
    return py::object(py::module_::import("ravine._sparse").attr("as_gradient")(given, where(parameter), zero));
  });
  if (!is_array(parameter.gradient)) parameter.sparse.hold(where(parameter), parameter.gradient);
}

void Parameters::look_twice(bool zero) {
  for (Parameter& parameter : all) {
    if (!parameter.gradient || !parameter.is_tensor) continue;
    const auto seen = see(parameter.gradient);
    if (!seen || !fits(*seen, parameter.array)) hold_converted(parameter, py::object(parameter.gradient), zero);
  }
}

bool Parameters::take_gradient(std::size_t i, Plan::Tensor& tensor, const Plan::Group& group) {
  Parameter& parameter = all[i];
  tensor.rows.reset();
  tensor.arrays.gradient = nullptr;
  if (!parameter.gradient) return true;
  parameter.array.check_unchanged();
  for (const Pinned& state : parameter.states) state.check_unchanged();
  if (parameter.is_tensor) return take_tensor(parameter, tensor);
  if (parameter.sparse)
    take_sparse(parameter, tensor, group);
  else
    take_dense(parameter, tensor);
  return true;
}

void Parameters::check_average(std::size_t i) const {
  all[i].array.check_unchanged();
  all[i].average->check_unchanged();
}

void Parameters::release_gradients() {
  for (Parameter& parameter : all) {
    parameter.gradient = parameter.original = py::object();
    if (parameter.sparse) parameter.sparse.release();
  }
}

void Parameters::take_dense(Parameter& parameter, Plan::Tensor& tensor) {
  const py::array& array = parameter.array.array();
  py::object& gradient = parameter.gradient;
  if (!same_dtype(gradient, array) || !same_shape(gradient, array))
    throw py::value_error(where(parameter) + ": its gradient is " + describe(gradient) + "; expected " +
                          describe(array) + ". Convert it with grad.astype(...) or grad.reshape(...).");
  if (!(fields(gradient).flags & aligned) || !same_order(gradient, array)) {
    parameter.original = gradient;
    gradient = reordered(parameter, gradient);
  } else if (fields(gradient).data != parameter.clear) {
    check_overlap(parameter, gradient);
    parameter.clear = fields(gradient).data;
  }
  tensor.arrays.gradient = fields(gradient).data;
}

bool Parameters::take_tensor(Parameter& parameter, Plan::Tensor& tensor) {
  const auto seen = see(parameter.gradient);
  if (!seen || !fits(*seen, parameter.array)) return false;
  if (seen->data != parameter.clear) {
    check_overlap(parameter, seen->data, seen->data + parameter.array.bytes());
    parameter.clear = seen->data;
  }
  tensor.arrays.gradient = seen->data;
  return true;
}

// Gives the plan what it needs of the SparseGrad that has come for a parameter.
void Parameters::take_sparse(Parameter& parameter, Plan::Tensor& tensor, const Plan::Group& group) {
  check_rule_is_sparse(where(parameter), tensor.rule, group);
  if (group.modifies())
    throw py::value_error(where(parameter) +
                          ": its gradient is sparse, and cautious, max_update_rms and max_grad_rms " +
                          "take sums over every row. Leave them out of its group, or pass grad.to_dense().");
  parameter.sparse.take(where(parameter), parameter.array);
  check_overlap(parameter, parameter.sparse.array());
  tensor.rows = parameter.sparse.rows();
  tensor.arrays.gradient = parameter.sparse.values();
}

void Parameters::check_overlap(const Parameter& parameter, py::handle gradient) const {
  const auto [begin, end] = extent(gradient);
  check_overlap(parameter, begin, end);
}

void Parameters::check_overlap(const Parameter& parameter, const char* begin, const char* end) const {
  const auto after = std::upper_bound(written_.begin(), written_.end(), begin,
                                      [](const char* at, const Interval& interval) { return at < interval.end; });
  if (begin < end && after != written_.end() && after->begin < end)
    throw py::value_error(where(parameter) + ": its gradient shares memory with " + *after->label +
                          ", which the step writes to. Pass a copy of the gradient.");
}

std::vector<py::object> Parameters::check_can_be_zeroed() const {
  std::vector<py::object> arrays, apart;
  std::vector<std::size_t> positions;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Parameter& parameter = all[i];
    if (!parameter.gradient) continue;
    const bool is_copy = bool(parameter.original);
    const py::object array = parameter.is_tensor ? shown(parameter)
                             : is_copy           ? parameter.original
                             : parameter.sparse  ? parameter.sparse.array()
                                                 : parameter.gradient;
    if (is_copy) check_overlap(parameter, array);
    if (!(fields(array).flags & writeable))
      throw py::value_error(where(parameter) + ": its gradient is read-only and cannot be set to zero. Pass a copy, " +
                            "or leave zeroing out.");
    if (is_copy || is_frozen(i) || (parameter.sparse && parameter.sparse.is_summed())) apart.push_back(array);
    arrays.push_back(array);
    positions.push_back(i);
  }
  if (const auto overlap = find_overlap(arrays))
    throw py::value_error(owner_ + ": the gradients of " + all[positions[overlap->first]].array.label() + " and " +
                          all[positions[overlap->second]].array.label() +
                          " share memory, and cannot be set to zero one by one. Pass copies, or leave zeroing out.");
  return apart;
}

}  // namespace ravine::bindings
