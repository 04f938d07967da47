// Dropout for Python: checks everything that comes, then makes one call.
#include "plan/dropout.hpp"

#include <utility>

#include "bindings/layer_arrays.hpp"
#include "bindings/register.hpp"

namespace ravine::bindings {
namespace {

// What a forward pass leaves for the backward pass.
class DropoutContext {
 public:
  // With `of_channels`, whole channels are dropped; `channels_last` tells where their axis is.
  DropoutContext(std::string owner, py::handle x, py::handle out, std::uint64_t seed, std::uint64_t counter,
                 std::uint32_t threshold, double scale, double shift, double dropped, bool of_channels,
                 bool channels_last)
      : owner_(std::move(owner)), scale_(scale) {
    const Checked checked(owner_);
    const py::object given = checked.array(x, "x");
    form_ = Form(given);
    shape_ = {form_.size(), dtype_of(given)};
    if (of_channels) {
      const Layout layout = checked.layout(form_, "x", channels_last);
      shape_ = {shape_.size, shape_.dtype, true, layout.samples, layout.channels, layout.length, layout.channels_last};
    } else if (!form_.is_packed()) {
      checked.fail("x (" + form_.describe() + ") is not contiguous. Pass np.ascontiguousarray(x).");
    }
    y_ = checked.output(out, "out", form_, "x");
    checked.apart(y_, "out", given, "x", true);
    mask_ = py::array_t<std::uint16_t>(shape_.mask_words());
    const Dropout work{shape_, data_of(given), data_of(y_), mask_.mutable_data(), scale, shift, dropped};
    const Random random{seed, counter, threshold};
    without_lock(shape_.size, [&] { run(work, &random); });
  }

  py::object take_result() { return std::move(y_); }

  py::object backward(py::handle dy, py::handle out) {
    const Checked checked(owner_ + ".backward");
    const py::object given = checked.like(dy, "dy", form_, "x");
    const py::object dx = checked.output(out, "out", form_, "x");
    checked.apart(dx, "out", given, "dy", true);
    const Dropout work{shape_, data_of(given), data_of(dx), mask_.mutable_data(), scale_, -0.0, 0};
    without_lock(shape_.size, [&] { run(work, nullptr); });
    return dx;
  }

  py::array mask() const { return mask_; }
  std::uint64_t counters() const { return shape_.counters(); }

 private:
  std::string owner_;
  DropoutShape shape_{};
  Form form_;
  double scale_;
  py::object y_;
  py::array_t<std::uint16_t> mask_;
};

}  // namespace

void register_dropout(py::module_& module) {
  py::class_<DropoutContext>(module, "DropoutContext", "A forward pass of dropout.")
      .def(py::init<std::string, py::handle, py::handle, std::uint64_t, std::uint64_t, std::uint32_t, double, double,
                    double, bool, bool>(),
           py::arg("owner"), py::arg("x"), py::arg("out"), py::arg("seed"), py::arg("counter"), py::arg("threshold"),
           py::arg("scale"), py::arg("shift"), py::arg("dropped"), py::arg("of_channels"), py::arg("channels_last"))
      .def("take_result", &DropoutContext::take_result, "The result, once: the context does not keep it.")
      .def("backward", &DropoutContext::backward, py::arg("dy"), py::arg("out"))
      .def_property_readonly("mask", &DropoutContext::mask, "A bit for each element, or channel, that is kept.")
      .def_property_readonly("counters", &DropoutContext::counters, "How many of Philox' counters the mask used up.");
}

}  // namespace ravine::bindings
