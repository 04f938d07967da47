// Gradients without an optimizer (ravine/nn/utils.py): checks everything that comes, then makes one call.
#include "plan/gradients.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/interpreter.hpp"
#include "bindings/register.hpp"
#include "plan/norm.hpp"
#include "plan/sweep.hpp"

namespace ravine::bindings {
namespace {

constexpr double no_limit = std::numeric_limits<double>::infinity();

// The gradients of one call. Those whose elements do not lie together are copied, in C order, and copied back.
class GradientArrays {
 public:
  // What a call is given: arrays, None where there is no gradient. `label` tells what messages call one, by its
  // position.
  struct Given {
    std::string owner;
    py::function label;
    py::tuple arrays;
  };

  GradientArrays(const Given& given, bool written) : held_(given.arrays) {
    std::vector<py::object> arrays;
    for (std::size_t i = 0; i < held_.size(); ++i) {
      if (held_[i].is_none()) continue;
      arrays.push_back(held_[i]);
      positions_.push_back(i);
      check(given, i, arrays.back(), written);
    }
    if (written)
      if (const auto overlap = find_overlap(arrays))
        throw py::value_error(given.owner + ": " + called(given, positions_[overlap->first]) + " and " +
                              called(given, positions_[overlap->second]) +
                              " share memory, and would be clipped twice. " + "Pass each gradient once.");
    for (const py::object& array : arrays) {
      const py::object& packed = is_packed(array) ? array : copies_.emplace_back(array, copy_of(array)).second;
      run_.push_back({fields(packed).data, dtype_of(packed), total_of(run_), size_of(packed)});
    }
  }

  // The norm, and the positions of those whose elements are not all finite.
  std::pair<double, std::vector<std::size_t>> norm(double p) const {
    GradientNorm found = without_lock(total_of(run_), [&] { return norm_of(run_, p); });
    for (std::size_t& i : found.nonfinite) i = positions_[i];
    return {found.norm, std::move(found.nonfinite)};
  }

  void clip(double factor, double limit) const {
    without_lock(total_of(run_), [&] { ravine::clip(run_, factor, limit); });
    for (const auto& [array, copy] : copies_) copy_into(array, copy);
  }

 private:
  static void check(const Given& given, std::size_t i, const py::object& array, bool written) {
    if (!is_array(array) || !(same_dtype_as<float>(array) || same_dtype_as<double>(array)))
      throw py::type_error(given.owner + ": " + called(given, i) + " is " + describe(array) +
                           "; expected native float32 or float64. Convert it with grad.astype(np.float32).");
    if (written && !(fields(array).flags & writeable))
      throw py::value_error(given.owner + ": " + called(given, i) + " is read-only, and is to be clipped in place. " +
                            "Pass a copy, or set grad.flags.writeable = True.");
  }

  static std::string called(const Given& given, std::size_t i) { return given.label(i).cast<std::string>(); }

  static bool is_packed(py::handle array) {
    const int flags = fields(array).flags;
    return (flags & aligned) && (flags & (c_contiguous | f_contiguous));
  }

  static py::object copy_of(const py::object& array) {
    const auto& f = fields(array);
    py::object copy = py::array(py::reinterpret_borrow<py::dtype>(f.descr),
                                std::vector<py::ssize_t>(f.dimensions, f.dimensions + f.nd));
    copy_into(copy, array);
    return copy;
  }

  py::tuple held_;  // the interpreter may run other threads
  std::vector<std::size_t> positions_;
  std::vector<std::pair<py::object, py::object>> copies_;  // an array and its copy
  std::vector<Gradient> run_;
};

using Found = std::pair<double, std::vector<std::size_t>>;

Found clip_norm(const GradientArrays::Given& given, const std::optional<py::tuple>& summed, double max_norm,
                double norm_type, bool only_finite) {
  const GradientArrays gradients(given, true);
  Found found = (summed ? GradientArrays({given.owner, given.label, *summed}, false) : gradients).norm(norm_type);
  if (!only_finite || std::isfinite(found.first)) gradients.clip(clip_coefficient(max_norm, found.first), no_limit);
  return found;
}

}  // namespace

void register_gradients(py::module_& module) {
  module.def(
      "find_overlap",
      [](const std::vector<py::object>& arrays) {
        if (!std::all_of(arrays.begin(), arrays.end(), [](const py::object& each) { return is_array(each); }))
          throw py::type_error("find_overlap takes NumPy arrays");
        return find_overlap(arrays);
      },
      py::arg("arrays"), "The positions of two arrays that have elements in common, or None.");
  module.def(
      "norm_of_gradients",
      [](const std::string& owner, const py::function& label, const py::tuple& gradients, double norm_type) {
        return GradientArrays({owner, label, gradients}, false).norm(norm_type);
      },
      py::arg("owner"), py::arg("label"), py::arg("gradients"), py::arg("norm_type"),
      "The norm of all arrays, and the positions of those with elements that are not finite.");
  module.def(
      "clip_norm_of_gradients",
      [](const std::string& owner, const py::function& label, const py::tuple& gradients,
         const std::optional<py::tuple>& summed, double max_norm, double norm_type,
         bool only_finite) { return clip_norm({owner, label, gradients}, summed, max_norm, norm_type, only_finite); },
      py::arg("owner"), py::arg("label"), py::arg("gradients"), py::arg("summed"), py::arg("max_norm"),
      py::arg("norm_type"), py::arg("only_finite"),
      "Clips the norm, which is of `summed` where they are given, unless only a finite one is to be clipped. Returns "
      "what norm_of_gradients does.");
  module.def(
      "scale_gradients",
      [](const std::string& owner, const py::function& label, const py::tuple& gradients, double max_norm,
         double total_norm) {
        GradientArrays({owner, label, gradients}, true).clip(clip_coefficient(max_norm, total_norm), no_limit);
      },
      py::arg("owner"), py::arg("label"), py::arg("gradients"), py::arg("max_norm"), py::arg("total_norm"),
      "Clips a norm that is known.");
  module.def(
      "limit_gradients",
      [](const std::string& owner, const py::function& label, const py::tuple& gradients, double max_value) {
        GradientArrays({owner, label, gradients}, true).clip(1, max_value);
      },
      py::arg("owner"), py::arg("label"), py::arg("gradients"), py::arg("max_value"),
      "Cuts each element off at -max_value and max_value.");
}

}  // namespace ravine::bindings
