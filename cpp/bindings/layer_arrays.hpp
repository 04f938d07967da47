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

  // `given` as an array of float32 or float64; of that of `like`, an array called `whose`, where one is given.
  py::object array(py::handle given, const char* name, py::handle like = {}, const char* whose = "") const;

  // How it lies in memory; `last` tells whether its last axis is that of the channels.
  Layout layout(const ArraySpec& spec, const char* name, bool last) const;

  // `given` as an array of this spec, which is that of the array called `whose`.
  py::object like(py::handle given, const char* name, const ArraySpec& spec, const char* whose) const;

  // The same, to be written to. A new one where `given` is None.
  py::object output(py::handle given, const char* name, const ArraySpec& spec, const char* whose) const;

  // A 1-d array of one value a channel, or null for None. Written to where `written`.
  py::object of_channels(py::handle given, const char* name, std::int64_t channels, py::handle x, bool written) const;

  // Raises where an output shares memory with another array, unless it is `in_place_allowed` and both are the very same
  // memory.
  void check_no_overlap(py::handle output, const char* name, py::handle other, const char* other_name,
                        bool in_place_allowed) const;

 private:
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
