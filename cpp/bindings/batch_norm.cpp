// Batch normalisation for Python: checks everything that comes, then makes one call.
#include "plan/batch_norm.hpp"

#include <memory>
#include <utility>

#include "bindings/layer_arrays.hpp"
#include "bindings/register.hpp"

namespace ravine::bindings {
namespace {

Fused fused(bool added, bool relu) {
  return added ? relu ? Fused::add_relu : Fused::add : relu ? Fused::relu : Fused::plain;
}

// What a forward pass leaves for the backward pass.
class BatchNormContext {
 public:
  // `channels_last` tells where the axis of the channels is.
  BatchNormContext(const std::string& owner, py::handle x, py::handle out, py::handle residual, py::handle weight,
                   py::handle bias, py::handle running_mean, py::handle running_var, bool training, double momentum,
                   double eps, bool channels_last, bool relu)
      : owner_(owner), training_(training) {
    const Checked checked(owner);
    x_ = checked.array(x, "x", weight.is_none() ? running_mean.is_none() ? py::handle() : running_mean : weight,
                       weight.is_none() ? "running_mean" : "weight");
    form_ = Form(x_);
    const Layout layout = checked.layout(form_, "x", channels_last);
    shape_ = {layout.samples, layout.channels, layout.length, dtype_of(x_)};
    if (layout.channels_last) shape_ = {layout.samples * layout.length, layout.channels, 1, shape_.dtype};
    const std::int64_t channels = layout.channels;
    const py::object w = checked.of_channels(weight, "weight", channels, x_, false);
    const py::object b = checked.of_channels(bias, "bias", channels, x_, false);
    const py::object mean = checked.of_channels(running_mean, "running_mean", channels, x_, training);
    const py::object var = checked.of_channels(running_var, "running_var", channels, x_, training);
    if (training && shape_.samples * shape_.length <= 1)
      checked.fail("x is " + describe(x_) + ", " + std::to_string(shape_.samples * shape_.length) +
                   " value(s) a channel; training needs at least 2. Use a larger batch, or eval().");
    const py::object z = residual.is_none() ? py::object() : checked.like(residual, "residual", form_, "x");
    y_ = checked.output(out, "out", form_, "x");
    checked.apart(y_, "out", x_, "x", true);
    checked.apart(y_, "out", z, "residual", true);
    for (const auto& [array, name] : {std::pair(&w, "weight"), std::pair(&b, "bias"), std::pair(&mean, "running_mean"),
                                      std::pair(&var, "running_var")})
      checked.apart(y_, "out", *array, name, false);

    fused_ = fused(bool(z), relu);
    if (fused_ == Fused::add_relu) mask_.reset(new std::uint16_t[std::size_t(shape_.mask_words())]);
    in_place_ = fields(y_).data == fields(x_).data;
    const BatchNormForward work{shape_,       fused_,   data_of(x_), data_of(z), data_of(w),  data_of(b), data_of(mean),
                                data_of(var), training, momentum,    eps,        data_of(y_), mask_.get()};
    saved_ = without_lock(shape_.size(), [&] { return run(work); });
    fingerprint_ = Fingerprint(x_);
  }

  // The result, which is not kept.
  py::object take_result() { return std::move(y_); }

  std::int64_t channels() const { return shape_.channels; }
  py::object dtype() const { return form_.dtype; }

  // Returns dx, or (dx, dresidual) where a residual was added.
  py::object backward(py::handle dy, py::handle out, py::handle residual_out, py::handle weight_grad,
                      py::handle bias_grad) {
    const Checked checked(owner_ + ".backward");
    if (in_place_ || !fingerprint_.fits(x_))
      checked.fail(std::string("x has been overwritten ") +
                   (in_place_ ? "by the forward pass (out=x)" : "since the forward pass") +
                   ", but the gradient needs it. Give the forward pass another out.");
    const bool added = adds(fused_);
    const py::object g = checked.like(dy, "dy", form_, "x");
    const py::object dw = checked.of_channels(weight_grad, "weight.grad", shape_.channels, x_, true);
    const py::object db = checked.of_channels(bias_grad, "bias.grad", shape_.channels, x_, true);
    if (!added && !residual_out.is_none())
      checked.fail("residual_out is given, but the forward pass added no residual. Leave it out.");
    const py::object dx = checked.output(out, "out", form_, "x");
    const py::object dz = added ? checked.output(residual_out, "residual_out", form_, "x") : py::object();
    checked.apart(dx, "out", g, "dy", true);
    checked.apart(dx, "out", x_, "x", true);
    checked.apart(dz, "residual_out", g, "dy", true);
    checked.apart(dz, "residual_out", x_, "x", false);
    checked.apart(dz, "residual_out", dx, "out", false);
    for (const auto& [array, name] : {std::pair(&dw, "weight.grad"), std::pair(&db, "bias.grad")})
      for (const auto& [result, result_name] : {std::pair(&dx, "out"), std::pair(&dz, "residual_out")})
        checked.apart(*result, result_name, *array, name, false);

    const BatchNormBackward work{shape_,    fused_,      data_of(g),  data_of(x_), mask_.get(),
                                 training_, data_of(dx), data_of(dz), data_of(dw), data_of(db)};
    without_lock(shape_.size(), [&] { run(work, saved_); });
    if (added) return py::make_tuple(dx, dz);
    return dx;
  }

 private:
  std::string owner_;
  BatchNormShape shape_{};
  Fused fused_ = Fused::plain;
  bool training_;
  bool in_place_ = false;
  py::object x_, y_;
  Form form_;  // of x
  Fingerprint fingerprint_;
  std::unique_ptr<std::uint16_t[]> mask_;
  BatchNormSaved saved_;
};

}  // namespace

void register_batch_norm(py::module_& module) {
  py::class_<BatchNormContext>(module, "BatchNormContext", "A forward pass of batch normalisation.")
      .def(py::init<const std::string&, py::handle, py::handle, py::handle, py::handle, py::handle, py::handle,
                    py::handle, bool, double, double, bool, bool>(),
           py::arg("owner"), py::arg("x"), py::arg("out"), py::arg("residual"), py::arg("weight"), py::arg("bias"),
           py::arg("running_mean"), py::arg("running_var"), py::arg("training"), py::arg("momentum"), py::arg("eps"),
           py::arg("channels_last"), py::arg("relu"))
      .def_property_readonly("channels", &BatchNormContext::channels)
      .def_property_readonly("dtype", &BatchNormContext::dtype)
      .def("take_result", &BatchNormContext::take_result, "The result, once: the context does not keep it.")
      .def("backward", &BatchNormContext::backward, py::arg("dy"), py::arg("out"), py::arg("residual_out"),
           py::arg("weight_grad"), py::arg("bias_grad"));
}

}  // namespace ravine::bindings
