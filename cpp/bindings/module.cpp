#include "bindings/register.hpp"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled part of ravine. Use it through ravine.optim and ravine.config.";
  ravine::bindings::register_config(module);
  ravine::bindings::register_arrays(module);
  ravine::bindings::register_hyper(module);
  ravine::bindings::register_plan(module);
  ravine::bindings::register_sparse(module);
  ravine::bindings::register_gradients(module);
  ravine::bindings::register_exchange(module);
  ravine::bindings::register_batch_norm(module);
  ravine::bindings::register_dropout(module);
}
