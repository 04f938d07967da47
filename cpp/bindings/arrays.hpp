// NumPy arrays as a plan needs them. What is checked at every step costs a few nanoseconds an array.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel.hpp"

namespace ravine::bindings {

namespace py = pybind11;

// Templates of the standard library that are made for a type of this kind are not exported either.
#if defined(__GNUC__)
#define RAVINE_HIDDEN __attribute__((visibility("hidden")))
#else
#define RAVINE_HIDDEN
#endif

inline const py::detail::PyArray_Proxy& fields(py::handle array) { return *py::detail::array_proxy(array.ptr()); }

inline bool is_array(py::handle object) { return py::detail::npy_api::get().PyArray_Check_(object.ptr()); }

enum Flag : int {
  c_contiguous = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_,
  f_contiguous = py::detail::npy_api::NPY_ARRAY_F_CONTIGUOUS_,
  aligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_,
  writeable = py::detail::npy_api::NPY_ARRAY_WRITEABLE_,
};

inline std::int64_t size_of(py::handle array) {
  const auto& f = fields(array);
  std::int64_t size = 1;
  for (int axis = 0; axis < f.nd; ++axis) size *= f.dimensions[axis];
  return size;
}

// The memory that an array's elements lie in, whatever its strides.
std::pair<const char*, const char*> extent(py::handle array);

// The positions of two arrays that have elements in common, if any do. Runs no code of users.
std::optional<std::pair<std::size_t, std::size_t>> find_overlap(const std::vector<py::object>& arrays);

// Copies an array's elements into another of its shape and dtype. Neither NumPy's functions nor a subclass of its
// arrays are asked: they may be anybody's code.
void copy_into(const py::object& to, const py::object& from);

bool same_shape(py::handle a, py::handle b);
bool same_dtype(py::handle a, py::handle b);

template <class T>
bool same_dtype_as(py::handle array) {
  static PyObject* const dtype = py::dtype::of<T>().release().ptr();  // kept for good
  return fields(array).descr == dtype || py::handle(fields(array).descr).equal(py::handle(dtype));
}

inline Dtype dtype_of(py::handle array) {
  return py::reinterpret_borrow<py::array>(array).itemsize() == 4 ? Dtype::float32 : Dtype::float64;
}

// Whether elements that follow one another in memory are the same elements in both.
bool same_order(py::handle a, py::handle b);

// "float32, shape (2, 3)"
std::string describe(py::handle array);

// The one number, of type T, in a writable array. Throws where it is something else.
template <class T>
T* number_in(py::handle array, const std::string& name) {
  if (!is_array(array) || !same_dtype_as<T>(array) || size_of(array) != 1 ||
      (fields(array).flags & (aligned | writeable)) != (aligned | writeable))
    throw py::type_error(name + " is no writable array of one " +
                         py::str(py::object(py::dtype::of<T>())).template cast<std::string>());
  return reinterpret_cast<T*>(fields(array).data);
}

// An array that steps write to, and what it was when it was pinned: anybody can resize, retype or re-stride it in
// place.
class RAVINE_HIDDEN Pinned {
 public:
  // `label` is how messages call it, `owner` the optimizer that they come from. Throws where the array is not
  // contiguous float32 or float64.
  Pinned(py::array array, std::string owner, std::string label);

  void* data() const { return data_; }
  std::int64_t size() const { return size_; }
  std::int64_t bytes() const { return size_ * item_size(dtype_); }
  Dtype dtype() const { return dtype_; }
  const std::vector<py::ssize_t>& shape() const { return shape_; }
  int order() const { return flags_ & (c_contiguous | f_contiguous); }
  const py::array& array() const { return array_; }
  const std::string& label() const { return label_; }

  template <class Visit>
  void visit(Visit&& each) const {
    each(array_);
  }

  // Throws if the array has been resized, retyped, re-strided or made read-only since: its memory may be gone.
  void check_unchanged() const {
    const auto& f = fields(array_);
    // Of one shape, contiguous arrays of one order have the same strides.
    if (f.data != data_ || f.descr != descr_ || (f.flags & watched) != flags_ || f.nd != int(shape_.size()))
      throw_changed();
    for (int axis = 0; axis < f.nd; ++axis)
      if (f.dimensions[axis] != shape_[axis]) throw_changed();
  }

 private:
  static constexpr int watched = c_contiguous | f_contiguous | aligned | writeable;

  [[noreturn]] void throw_changed() const;

  py::array array_;
  std::string owner_;
  std::string label_;
  Dtype dtype_;
  char* data_;
  PyObject* descr_;
  std::vector<py::ssize_t> shape_;
  int flags_;
  std::int64_t size_;
};

}  // namespace ravine::bindings
