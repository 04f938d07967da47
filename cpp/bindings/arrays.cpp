#include "bindings/arrays.hpp"

#include "bindings/interpreter.hpp"
#include "bindings/register.hpp"

#include <algorithm>
#include <utility>

namespace ravine::bindings {
namespace {

// Whether two arrays whose extents overlap have elements in common. Where that cannot be told in good time, they have.
bool share_elements(const py::object& a, const py::object& b) {
  const auto plain = [](const py::object& array) {  // of no class of users
    const auto& f = fields(array);
    return py::array(py::reinterpret_borrow<py::dtype>(f.descr),
                     std::vector<py::ssize_t>(f.dimensions, f.dimensions + f.nd),
                     std::vector<py::ssize_t>(f.strides, f.strides + f.nd), f.data, array);
  };
  constexpr int max_work = 1 << 16;
  try {
    return py::module_::import("numpy").attr("shares_memory")(plain(a), plain(b), max_work).cast<bool>();
  } catch (const py::error_already_set& error) {
    if (error.matches(PyExc_RuntimeError)) return true;  // its TooHardError
    throw;
  }
}

}  // namespace

std::pair<const char*, const char*> extent(py::handle array) {
  const auto& f = fields(array);
  if (size_of(array) == 0) return {f.data, f.data};
  const char* low = f.data;
  const char* high = f.data + py::reinterpret_borrow<py::array>(array).itemsize();
  for (int axis = 0; axis < f.nd; ++axis) {
    const py::ssize_t reach = (f.dimensions[axis] - 1) * f.strides[axis];
    (reach < 0 ? low : high) += reach;
  }
  return {low, high};
}

std::optional<std::pair<std::size_t, std::size_t>> find_overlap(const std::vector<py::object>& arrays) {
  struct Interval {
    const char* begin;
    const char* end;
    std::size_t position;
  };
  std::vector<Interval> intervals;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const auto [begin, end] = extent(arrays[i]);
    if (begin < end) intervals.push_back({begin, end, i});
  }
  std::sort(intervals.begin(), intervals.end(), [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  for (auto first = intervals.begin(); first != intervals.end(); ++first)
    for (auto second = first + 1; second != intervals.end() && second->begin < first->end; ++second)
      if (share_elements(arrays[first->position], arrays[second->position]))
        return std::minmax({first->position, second->position});
  return std::nullopt;
}

void copy_into(const py::object& to, const py::object& from) {
  if (py::detail::npy_api::get().PyArray_CopyInto_(to.ptr(), from.ptr()) < 0) throw py::error_already_set();
}

bool same_shape(py::handle a, py::handle b) {
  const auto& x = fields(a);
  const auto& y = fields(b);
  return x.nd == y.nd && std::equal(x.dimensions, x.dimensions + x.nd, y.dimensions);
}

bool same_dtype(py::handle a, py::handle b) {
  PyObject* x = fields(a).descr;
  PyObject* y = fields(b).descr;
  return x == y || py::handle(x).equal(py::handle(y));
}

bool same_order(py::handle a, py::handle b) {
  return fields(a).flags & fields(b).flags & (c_contiguous | f_contiguous);
}

std::string describe(py::handle array) {
  return py::str("{}, shape {}").format(array.attr("dtype"), array.attr("shape")).cast<std::string>();
}

Pinned::Pinned(py::array array, std::string owner, std::string label)
    : array_(std::move(array)),
      owner_(std::move(owner)),
      label_(std::move(label)),
      dtype_(same_dtype_as<float>(array_) ? Dtype::float32 : Dtype::float64),
      data_(fields(array_).data),
      descr_(fields(array_).descr),
      size_(size_of(array_)) {
  const auto& f = fields(array_);
  shape_.assign(f.dimensions, f.dimensions + f.nd);
  flags_ = (f.flags & watched) | writeable;
  if (!(same_dtype_as<float>(array_) || same_dtype_as<double>(array_)) || !(f.flags & aligned) ||
      !(f.flags & (c_contiguous | f_contiguous)))
    throw py::value_error(owner_ + ": " + label_ + " is " + describe(array_) +
                          "; expected a contiguous array of native float32 or float64.");
}

void Pinned::throw_changed() const {
  if (!(fields(array_).flags & writeable))
    throw py::value_error(owner_ + ": " + label_ +
                          " has been made read-only; in-place updates need a writable array. Set " +
                          "arr.flags.writeable = True, or give None as its gradient to leave it alone.");
  throw py::value_error(owner_ + ": " + label_ +
                        " has been resized, retyped or moved since the optimizer was made (it is now " +
                        describe(array_) + "). Make a new optimizer for the new array.");
}

void register_arrays(py::module_& module) {
  py::class_<Pinned>(module, "Pinned", collected<Pinned>(),
                     "An array that steps write to, and what it was when it was pinned.")
      .def(py::init<py::array, std::string, std::string>(), py::arg("array").noconvert(), py::arg("owner"),
           py::arg("label"))
      .def("check_unchanged", &Pinned::check_unchanged);
}

}  // namespace ravine::bindings
