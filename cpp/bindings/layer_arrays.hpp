// What comes from Python to a layer: arrays as they are checked before anything is computed.
#pragma once

#include <string>
#include <vector>

#include "bindings/arrays.hpp"

namespace ravine::bindings {

// Shape, dtype and memory order of an array of float32 or float64.
struct ArraySpec {
  ArraySpec() = default;
  explicit ArraySpec(py::handle array);

  std::vector<py::ssize_t> shape, strides;
  py::object dtype;
  std::int64_t item = 0;  // bytes of an element

  std::int64_t size() const;

  // Whether all elements lie together, in whichever order of the axes.
  bool is_packed() const;

  bool same_strides(py::handle array) const;
  py::object new_array() const;
  std::string describe() const;
};

// How an array (N, C, ...) or (N, ..., C) lies in memory.
struct Layout {
  std::int64_t samples, channels, length;
  bool channels_last;  // in memory, whatever the order of its axes
};

// The messages of one call: `owner` is who was called.
class Checked {
 public:
  explicit Checked(std::string owner) : owner_(std::move(owner)) {}

  [[noreturn]] void fail(const std::string& problem) const;        // ValueError
  [[noreturn]] void fail_dtype(const std::string& problem) const;  // TypeError

  // What is given as an array of whatever kind, over the same memory; null for None. May run code of users: all that a
  // call is given is to be converted before any of it is checked.
  py::object converted(py::handle given, const char* name) const;

  // Raises where it is no aligned array of float32 or float64; of that of `like`, an array called `whose`, where there
  // is one.
  void check_numbers(const py::object& found, const char* name, py::handle like = {}, const char* whose = "") const;

  // How it lies in memory; `last` tells whether its last axis is that of the channels.
  Layout layout(const ArraySpec& spec, const char* name, bool last) const;

  // Raises where it is no array of this spec, which is that of the array called `whose`.
  void check_like(const py::object& found, const char* name, const ArraySpec& spec, const char* whose) const;

  // An array of this spec to write to: a new one where None is given.
  py::object output(py::handle given, const char* name, const ArraySpec& spec, const char* whose) const;

  // Raises where there is one and it is no 1-d array of one value a channel, or cannot be written to but is to be.
  void check_of_channels(const py::object& found, const char* name, std::int64_t channels, py::handle x,
                         bool written) const;

  // An array of a call, or null.
  struct Used {
    const py::object& array;
    const char* name;
    bool written;
    std::vector<const char*> may_be;  // the arrays that it may lie in place of, exactly
  };

  // Raises where two of these share memory and one of them is written to.
  void check_no_overlap(const std::vector<Used>& all) const;

 private:
  void check_no_overlap(const Used& output, const Used& other) const;

  std::string owner_;
};

inline void* data_of(const py::object& array) { return array ? fields(array).data : nullptr; }

// A few elements of an array, by which it can be told later that it has been overwritten.
class Fingerprint {
 public:
  Fingerprint() = default;
  explicit Fingerprint(const py::object& array);
  bool fits(const py::object& array) const;

 private:
  const char* data_ = nullptr;
  std::int64_t bytes_ = 0;
  std::vector<char> sample_;
};

}  // namespace ravine::bindings
