// Dropout for Python: checks everything that comes, then makes one call.
#include "plan/dropout.hpp"

#include <utility>

#include "bindings/arguments.hpp"
#include "bindings/interpreter.hpp"
#include "bindings/layer_arrays.hpp"
#include "bindings/register.hpp"

namespace ravine::bindings {
namespace {

// What a forward pass is given.
struct DropoutArguments {
  std::string owner;
  py::handle x, out;  // arrays; out may be None
  std::uint64_t seed, counter;
  std::uint32_t threshold;
  double scale, shift, dropped;
  bool of_channels;    // whether whole channels are dropped
  bool channels_last;  // where their axis is then
};

DropoutArguments dropout_arguments(const py::dict& given) {
  using A = DropoutArguments;
  static const ArgumentReader reader(Field("owner", &A::owner), Field("x", &A::x), Field("out", &A::out),
                                     Field("seed", &A::seed), Field("counter", &A::counter),
                                     Field("threshold", &A::threshold), Field("scale", &A::scale),
                                     Field("shift", &A::shift), Field("dropped", &A::dropped),
                                     Field("of_channels", &A::of_channels), Field("channels_last", &A::channels_last));
  return reader.read(given);
}

// What a forward pass leaves for the backward pass.
class DropoutContext {
 public:
  explicit DropoutContext(const py::dict& arguments) : DropoutContext(dropout_arguments(arguments)) {}

  explicit DropoutContext(const DropoutArguments& given) : owner_(given.owner), scale_(given.scale) {
    const Checked checked(owner_);
    const py::object x = checked.converted(given.x, "x");
    checked.check_numbers(x, "x");
    spec_ = ArraySpec(x);
    shape_.size = spec_.size();
    shape_.dtype = dtype_of(x);
    if (given.of_channels) {
      const Layout layout = checked.layout(spec_, "x", given.channels_last);
      shape_.of_channels = true;
      shape_.samples = layout.samples;
      shape_.channels = layout.channels;
      shape_.length = layout.length;
      shape_.channels_last = layout.channels_last;
    } else if (!spec_.is_packed()) {
      checked.fail("x (" + spec_.describe() + ") is not contiguous. Pass np.ascontiguousarray(x).");
    }
    y_ = checked.output(given.out, "out", spec_, "x");
    checked.check_no_overlap({{x, "x", false, {}}, {y_, "out", true, {"x"}}});
    mask_ = py::array_t<std::uint16_t>(shape_.mask_words());
    Dropout work{};
    work.shape = shape_;
    work.x = data_of(x);
    work.y = data_of(y_);
    work.mask = mask_.mutable_data();
    work.scale = given.scale;
    work.shift = given.shift;
    work.dropped = given.dropped;
    const Random random{given.seed, given.counter, given.threshold};
    without_lock(shape_.size, [&] { run(work, &random); });
  }

  py::object take_result() { return std::move(y_); }

  py::object backward(py::handle dy, py::handle out) {
    const Checked checked(owner_ + ".backward");
    const py::object given = checked.converted(dy, "dy");
    checked.check_like(given, "dy", spec_, "x");
    const py::object dx = checked.output(out, "out", spec_, "x");
    checked.check_no_overlap({{given, "dy", false, {}}, {dx, "out", true, {"dy"}}});
    Dropout work{};
    work.shape = shape_;
    work.x = data_of(given);
    work.y = data_of(dx);
    work.mask = mask_.mutable_data();
    work.scale = scale_;
    work.shift = -0.0;  // x + -0.0 is x, whatever its sign
    work.dropped = 0;
    without_lock(shape_.size, [&] { run(work, nullptr); });
    return dx;
  }

  py::array mask() const { return mask_; }
  std::uint64_t counters() const { return shape_.counters(); }

 private:
  std::string owner_;
  DropoutShape shape_{};
  ArraySpec spec_;
  double scale_;
  py::object y_;
  py::array_t<std::uint16_t> mask_;
};

}  // namespace

void register_dropout(py::module_& module) {
  py::class_<DropoutContext>(module, "DropoutContext", not_empty(), "A forward pass of dropout.")
      .def(py::init<const py::dict&>(), py::arg("arguments"))
      .def("take_result", &DropoutContext::take_result, "The result, once: the context does not keep it.")
      .def("backward", &DropoutContext::backward, py::arg("dy"), py::arg("out"))
      .def_property_readonly("mask", &DropoutContext::mask, "A bit for each element, or channel, that is kept.")
      .def_property_readonly("counters", &DropoutContext::counters, "How many of Philox' counters the mask used up.");
}

}  // namespace ravine::bindings
