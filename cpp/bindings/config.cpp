#include <pybind11/stl.h>

#include "bindings/register.hpp"
#include "choice.hpp"
#include "isa/select.hpp"
#include "threads/threads.hpp"

namespace ravine::bindings {

namespace py = pybind11;

void register_config(py::module_& module) {
  use_environment("RAVINE_ISA", isa::use);
  use_environment("RAVINE_THREADING", threads::use);
  use_environment("RAVINE_THREADS", threads::use_count);
  module.def("available_isas", &isa::available, "The instruction sets that can run here, the best last.");
  module.def("isa", [] { return std::string(isa::active().name); }, "The instruction set in use.");
  module.def("use_isa", &isa::use, py::arg("name"), "Changes the instruction set in use.");
  module.def("available_threadings", &threads::available, "The ways of sharing work among threads.");
  module.def("threading", [] { return std::string(threads::active().name); }, "The one in use.");
  module.def("use_threading", &threads::use, py::arg("name"), "Changes the one in use.");
  module.def("num_threads", &threads::count, "How many threads a large step is given.");
  module.def("set_num_threads", &threads::set_count, py::arg("threads"), "Sets it; 0 for the default.");
  module.attr("compiler") = RAVINE_COMPILER;
  module.attr("flags") = RAVINE_FLAGS;
}

}  // namespace ravine::bindings
