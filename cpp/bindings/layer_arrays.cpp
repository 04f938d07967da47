#include "bindings/layer_arrays.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "bindings/interpreter.hpp"

namespace ravine::bindings {
namespace {

bool is_supported(py::handle array) { return same_dtype_as<float>(array) || same_dtype_as<double>(array); }

struct Axis {
  std::int64_t size, stride;
};

// Whether axes in this order, the outermost first, lie without gaps. Axes of length 1 may have any stride.
bool are_packed(const std::vector<Axis>& axes, std::int64_t item) {
  std::int64_t expected = item;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    if (axis->size == 1) continue;
    if (axis->stride != expected) return false;
    expected *= axis->size;
  }
  return true;
}

std::int64_t bytes_of(py::handle array) { return size_of(array) * item_size(dtype_of(array)); }

std::string in_parentheses(const std::vector<py::ssize_t>& numbers) {
  return py::str(py::tuple(py::cast(numbers))).cast<std::string>();
}

}  // namespace

ArraySpec::ArraySpec(py::handle array)
    : dtype(py::reinterpret_borrow<py::object>(fields(array).descr)), item(item_size(dtype_of(array))) {
  const auto& f = fields(array);
  shape.assign(f.dimensions, f.dimensions + f.nd);
  strides.assign(f.strides, f.strides + f.nd);
}

std::int64_t ArraySpec::size() const {
  std::int64_t product = 1;
  for (const py::ssize_t n : shape) product *= n;
  return product;
}

bool ArraySpec::is_packed() const {
  std::vector<Axis> axes;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) axes.push_back({shape[axis], strides[axis]});
  std::sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.stride > b.stride; });
  return size() == 0 || are_packed(axes, item);
}

bool ArraySpec::same_strides(py::handle array) const {
  const auto& f = fields(array);
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    if (shape[axis] != 1 && strides[axis] != f.strides[axis]) return false;
  return true;
}

py::object ArraySpec::new_array() const {
  std::vector<std::size_t> order(shape.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [this](std::size_t a, std::size_t b) { return strides[a] > strides[b]; });
  std::vector<py::ssize_t> outer_first, axes(shape.size());
  for (std::size_t k = 0; k < order.size(); ++k) {
    outer_first.push_back(shape[order[k]]);
    axes[order[k]] = py::ssize_t(k);
  }
  py::object array = py::array(py::reinterpret_borrow<py::dtype>(dtype), outer_first);
  if (std::is_sorted(axes.begin(), axes.end())) return array;
  return array.attr("transpose")(axes);
}

std::string ArraySpec::describe() const {
  return py::str(dtype).cast<std::string>() + ", shape " + in_parentheses(shape);
}

void Checked::fail(const std::string& problem) const { throw py::value_error(owner_ + ": " + problem); }

void Checked::fail_dtype(const std::string& problem) const { throw py::type_error(owner_ + ": " + problem); }

py::object Checked::converted(py::handle given, const char* name) const {
  if (given.is_none()) return py::object();
  if (is_array(given)) return py::reinterpret_borrow<py::object>(given);
  return in_python(
      [&] { return py::object(py::module_::import("ravine._arrays").attr("as_input")(given, owner_ + ": " + name)); });
}

void Checked::check_numbers(const py::object& found, const char* name, py::handle like, const char* whose) const {
  if (!found) fail_dtype(std::string(name) + " is None; expected an array.");
  if (!is_supported(found))
    fail_dtype(std::string(name) + " is " + bindings::describe(found) +
               "; expected native float32 or float64. Convert it with " + name + ".astype(np.float32).");
  if (like && !same_dtype(found, like)) {
    const std::string wanted = py::str(like.attr("dtype"));
    fail_dtype(std::string(name) + " is " + bindings::describe(found) + "; expected " + wanted + ", as " + whose +
               ". Convert it with " + name + ".astype(np." + wanted + ").");
  }
  if (!(fields(found).flags & aligned))
    fail(std::string(name) + " is not aligned to its element size; pass a copy made with " + name + ".copy().");
}

Layout Checked::layout(const ArraySpec& spec, const char* name, bool last) const {
  if (spec.shape.size() < 2)
    fail(std::string(name) + " is " + spec.describe() + "; expected at least 2 dimensions, one of them the channels.");
  std::vector<Axis> axes;
  for (std::size_t axis = 0; axis < spec.shape.size(); ++axis) axes.push_back({spec.shape[axis], spec.strides[axis]});
  const Axis channels = last ? axes.back() : axes[1];
  axes.erase(last ? axes.end() - 1 : axes.begin() + 1);
  std::int64_t length = 1;
  for (std::size_t axis = 1; axis < axes.size(); ++axis) length *= axes[axis].size;

  std::vector<Axis> inner = axes, outer = axes;
  inner.push_back(channels);
  outer.insert(outer.begin() + 1, channels);
  if (spec.size() == 0 || are_packed(outer, spec.item)) return {axes[0].size, channels.size, length, false};
  if (are_packed(inner, spec.item)) return {axes[0].size, channels.size, length, true};
  fail(std::string(name) + " (" + spec.describe() + ", strides " + in_parentheses(spec.strides) +
       ") is contiguous neither channels-first nor channels-last. Pass np.ascontiguousarray(" + name + ").");
}

void Checked::check_like(const py::object& found, const char* name, const ArraySpec& spec, const char* whose) const {
  check_numbers(found, name);
  if (!py::handle(fields(found).descr).equal(spec.dtype) || ArraySpec(found).shape != spec.shape)
    fail(std::string(name) + " is " + bindings::describe(found) + "; expected " + spec.describe() + ", as " + whose +
         ".");
  if (spec.size() > 0 && !spec.same_strides(found))
    fail(std::string(name) + " lies in memory with strides " + in_parentheses(ArraySpec(found).strides) + ", " + whose +
         " with " + in_parentheses(spec.strides) + "; expected the same order. Copy it into an array made with " +
         "np.empty_like(" + whose + ").");
}

py::object Checked::output(py::handle given, const char* name, const ArraySpec& spec, const char* whose) const {
  if (given.is_none()) return spec.new_array();
  if (!is_array(given))
    fail_dtype(std::string(name) + " is a " + py::str(py::type::of(given).attr("__name__")).cast<std::string>() +
               "; expected a NumPy array to write to, or None.");
  py::object found = py::reinterpret_borrow<py::object>(given);
  check_like(found, name, spec, whose);
  if (!(fields(found).flags & writeable))
    fail(std::string(name) + " is read-only; expected an array to write to. Pass another, or None for a new one.");
  return found;
}

void Checked::check_of_channels(const py::object& found, const char* name, std::int64_t channels, py::handle x,
                                bool written) const {
  if (!found) return;
  check_numbers(found, name, x, "x");
  const auto& f = fields(found);
  if (f.nd != 1 || f.dimensions[0] != channels)
    fail(std::string(name) + " is " + bindings::describe(found) + "; expected one value for each of the " +
         std::to_string(channels) + " channels of x.");
  if (!(f.flags & c_contiguous))
    fail(std::string(name) + " is not contiguous; pass np.ascontiguousarray(" + name + ").");
  if (written && !(f.flags & writeable))
    fail(std::string(name) + " is read-only, but is updated in place. Set " + name + ".flags.writeable = True.");
}

void Checked::check_no_overlap(const std::vector<Used>& all) const {
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t j = i + 1; j < all.size(); ++j)
      if (all[j].written)
        check_no_overlap(all[j], all[i]);
      else if (all[i].written)
        check_no_overlap(all[i], all[j]);
}

void Checked::check_no_overlap(const Used& output, const Used& other) const {
  if (!output.array || !other.array) return;
  const char* a = fields(output.array).data;
  const char* b = fields(other.array).data;
  const std::int64_t a_bytes = bytes_of(output.array), b_bytes = bytes_of(other.array);
  if (a_bytes == 0 || b_bytes == 0 || a + a_bytes <= b || b + b_bytes <= a) return;
  const auto is_other = [&](const char* name) { return std::strcmp(name, other.name) == 0; };
  const bool may_be = std::any_of(output.may_be.begin(), output.may_be.end(), is_other);
  if (may_be && a == b && a_bytes == b_bytes) return;
  fail(std::string(output.name) + " shares memory with " + other.name +
       (may_be ? " but does not begin where it does; pass the very same array, or one of its own."
               : ", which is still needed; pass another array."));
}

Fingerprint::Fingerprint(const py::object& array) : data_(fields(array).data), bytes_(bytes_of(array)) {
  constexpr std::int64_t samples = 16;
  const std::int64_t item = item_size(dtype_of(array));
  const std::int64_t size = bytes_ / item;
  for (std::int64_t i = 0; i < samples && size > 0; ++i) {
    const char* element = data_ + (size - 1) * i / (samples - 1) * item;
    sample_.insert(sample_.end(), element, element + item);
  }
}

bool Fingerprint::fits(const py::object& array) const {
  if (fields(array).data != data_ || bytes_of(array) != bytes_) return false;
  return Fingerprint(array).sample_ == sample_;
}

}  // namespace ravine::bindings
