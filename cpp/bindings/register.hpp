// One registration function for each file of bindings.
#pragma once

#include <pybind11/pybind11.h>

namespace ravine::bindings {

void register_arrays(pybind11::module_& module);
void register_config(pybind11::module_& module);
void register_hyper(pybind11::module_& module);
void register_plan(pybind11::module_& module);
void register_sparse(pybind11::module_& module);
void register_gradients(pybind11::module_& module);
void register_exchange(pybind11::module_& module);
void register_batch_norm(pybind11::module_& module);
void register_dropout(pybind11::module_& module);

}  // namespace ravine::bindings
