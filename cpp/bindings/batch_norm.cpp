// Batch normalisation for Python: checks everything that comes, then makes one call.
#include "plan/batch_norm.hpp"

#include <memory>
#include <utility>

#include "bindings/arguments.hpp"
#include "bindings/interpreter.hpp"
#include "bindings/layer_arrays.hpp"
#include "bindings/register.hpp"

namespace ravine::bindings {
namespace {

Fused fused(bool added, bool relu) {
  return added ? relu ? Fused::add_relu : Fused::add : relu ? Fused::relu : Fused::plain;
}

// What a forward pass is given. Handles are arrays; all but x may be None.
struct BatchNormArguments {
  std::string owner;
  py::handle x, out, residual, weight, bias, running_mean, running_var;
  py::handle tracked;  // how many batches the running statistics have seen, to be advanced
  bool training;
  double momentum, eps;
  bool channels_last;  // where the axis of the channels is
  bool relu;
};

BatchNormArguments batch_norm_arguments(const py::dict& given) {
  using A = BatchNormArguments;
  static const ArgumentReader reader(
      Field("owner", &A::owner), Field("x", &A::x), Field("out", &A::out), Field("residual", &A::residual),
      Field("weight", &A::weight), Field("bias", &A::bias), Field("running_mean", &A::running_mean),
      Field("running_var", &A::running_var), Field("tracked", &A::tracked), Field("training", &A::training),
      Field("momentum", &A::momentum), Field("eps", &A::eps), Field("channels_last", &A::channels_last),
      Field("relu", &A::relu));
  return reader.read(given);
}

// What a forward pass leaves for the backward pass.
class BatchNormContext {
 public:
  explicit BatchNormContext(const py::dict& arguments) : BatchNormContext(batch_norm_arguments(arguments)) {}

  explicit BatchNormContext(const BatchNormArguments& given) : owner_(given.owner), training_(given.training) {
    const Checked checked(owner_);
    x_ = checked.converted(given.x, "x");
    const py::object z = checked.converted(given.residual, "residual");
    const py::object weight = checked.converted(given.weight, "weight");
    const py::object bias = checked.converted(given.bias, "bias");
    const py::object mean = checked.converted(given.running_mean, "running_mean");
    const py::object var = checked.converted(given.running_var, "running_var");

    checked.check_numbers(x_, "x", weight ? weight : mean, weight ? "weight" : "running_mean");
    spec_ = ArraySpec(x_);
    const Layout layout = checked.layout(spec_, "x", given.channels_last);
    shape_ = {layout.samples, layout.channels, layout.length, dtype_of(x_)};
    if (layout.channels_last) shape_ = {layout.samples * layout.length, layout.channels, 1, shape_.dtype};
    const std::int64_t channels = layout.channels;
    checked.check_of_channels(weight, "weight", channels, x_, false);
    checked.check_of_channels(bias, "bias", channels, x_, false);
    checked.check_of_channels(mean, "running_mean", channels, x_, training_);
    checked.check_of_channels(var, "running_var", channels, x_, training_);
    const std::int64_t values = shape_.elements_of_group();
    if (training_ && values <= 1)
      checked.fail("x is " + describe(x_) + ", " + std::to_string(values) +
                   " value(s) a channel; training needs at least 2. Use a larger batch, or eval().");
    if (z) checked.check_like(z, "residual", spec_, "x");
    y_ = checked.output(given.out, "out", spec_, "x");
    checked.check_no_overlap({{x_, "x", false, {}},
                              {z, "residual", false, {}},
                              {weight, "weight", false, {}},
                              {bias, "bias", false, {}},
                              {mean, "running_mean", training_, {}},
                              {var, "running_var", training_, {}},
                              {y_, "out", true, {"x", "residual"}}});

    fused_ = fused(bool(z), given.relu);
    if (fused_ == Fused::add_relu) mask_.reset(new std::uint16_t[std::size_t(shape_.mask_words())]);
    in_place_ = fields(y_).data == fields(x_).data;
    BatchNormForward work{};
    work.shape = shape_;
    work.fused = fused_;
    work.x = data_of(x_);
    work.z = data_of(z);
    work.weight = data_of(weight);
    work.bias = data_of(bias);
    work.running_mean = data_of(mean);
    work.running_var = data_of(var);
    work.training = training_;
    work.momentum = given.momentum;
    work.eps = given.eps;
    work.y = data_of(y_);
    work.mask = mask_.get();
    std::int64_t* const tracked = given.tracked.is_none() ? nullptr : number_in<std::int64_t>(given.tracked, "tracked");
    saved_ = without_lock(shape_.size(), [&] { return run(work); });
    if (tracked) *tracked += 1;
    fingerprint_ = Fingerprint(x_);
  }

  // The result, which is not kept.
  py::object take_result() { return std::move(y_); }

  std::int64_t channels() const { return shape_.groups; }
  py::object dtype() const { return spec_.dtype; }

  // Returns dx, or (dx, dresidual) where a residual was added.
  py::object backward(py::handle dy, py::handle out, py::handle residual_out, py::handle weight_grad,
                      py::handle bias_grad) {
    const Checked checked(owner_ + ".backward");
    const py::object g = checked.converted(dy, "dy");
    const py::object dw = checked.converted(weight_grad, "weight.grad");
    const py::object db = checked.converted(bias_grad, "bias.grad");

    const bool added = adds(fused_);
    if (in_place_ || !fingerprint_.fits(x_))
      checked.fail(std::string("x has been overwritten ") +
                   (in_place_ ? "by the forward pass (out=x)" : "since the forward pass") +
                   ", but the gradient needs it. Give the forward pass another out.");
    checked.check_like(g, "dy", spec_, "x");
    checked.check_of_channels(dw, "weight.grad", shape_.groups, x_, true);
    checked.check_of_channels(db, "bias.grad", shape_.groups, x_, true);
    if (!added && !residual_out.is_none())
      checked.fail("residual_out is given, but the forward pass added no residual. Leave it out.");
    const py::object dx = checked.output(out, "out", spec_, "x");
    const py::object dz = added ? checked.output(residual_out, "residual_out", spec_, "x") : py::object();
    checked.check_no_overlap({{x_, "x", false, {}},
                              {g, "dy", false, {}},
                              {dw, "weight.grad", true, {}},
                              {db, "bias.grad", true, {}},
                              {dx, "out", true, {"dy", "x"}},
                              {dz, "residual_out", true, {"dy"}}});

    BatchNormBackward work{};
    work.shape = shape_;
    work.fused = fused_;
    work.dy = data_of(g);
    work.x = data_of(x_);
    work.mask = mask_.get();
    work.training = training_;
    work.dx = data_of(dx);
    work.dz = data_of(dz);
    work.weight_gradient = data_of(dw);
    work.bias_gradient = data_of(db);
    without_lock(shape_.size(), [&] { run(work, saved_); });
    if (added) return py::make_tuple(dx, dz);
    return dx;
  }

  template <class Visit>
  void visit(Visit&& each) const {
    each(x_);
    each(y_);
  }

 private:
  std::string owner_;
  GroupedShape shape_{};
  Fused fused_ = Fused::plain;
  bool training_;
  bool in_place_ = false;
  py::object x_, y_;
  ArraySpec spec_;  // of x
  Fingerprint fingerprint_;
  std::unique_ptr<std::uint16_t[]> mask_;
  BatchNormSaved saved_;
};

}  // namespace

void register_batch_norm(py::module_& module) {
  py::class_<BatchNormContext>(module, "BatchNormContext", collected<BatchNormContext>(),
                               "A forward pass of batch normalisation.")
      .def(py::init<const py::dict&>(), py::arg("arguments"))
      .def_property_readonly("channels", &BatchNormContext::channels)
      .def_property_readonly("dtype", &BatchNormContext::dtype)
      .def("take_result", &BatchNormContext::take_result, "The result, once: the context does not keep it.")
      .def("backward", &BatchNormContext::backward, py::arg("dy"), py::arg("out"), py::arg("residual_out"),
           py::arg("weight_grad"), py::arg("bias_grad"));
}

}  // namespace ravine::bindings
