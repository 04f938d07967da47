// Tensors of other libraries, seen in nanoseconds through the table of C functions that their type offers: the exchange
// API of DLPack 1.3, https://dmlc.github.io/dlpack/latest/c_api.html.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>

#include "bindings/arrays.hpp"

namespace ravine::bindings {

// A float32 or float64 tensor on the CPU, aligned and in C or Fortran order. It belongs to its library, and what is
// seen is true until anything else is called or another thread runs: the library may free the memory then.
struct Seen {
  char* data;
  Dtype dtype;
  int dimensions;
  const std::int64_t* shape;
  std::int64_t size;
  int order;  // c_contiguous, f_contiguous or both
};

// Whether tensors of its type can be seen at a glance, and it holds its elements as they lie in memory: torch postpones
// the negation of some. A subclass of users cannot. May run code of users and other threads; of errors only what is to
// end the program, like Ctrl-C, is left.
bool can_be_seen(py::handle tensor);

// Whether tensors of such a type are never read-only, as torch's, which have methods that work in place.
bool can_be_written(py::handle tensor);

// A NumPy array over the memory of such a tensor, which then cannot be freed, whatever becomes of the tensor. Nothing
// where its library makes none.
py::object held_array(py::handle tensor);

// What is seen of a tensor of such a type. Nothing where it is none of the kind above. Runs no code of users, and lets
// no other thread run.
std::optional<Seen> see(py::handle tensor);

// Whether it has the dtype, shape and order of an array.
bool fits(const Seen& tensor, const Pinned& array);

}  // namespace ravine::bindings
