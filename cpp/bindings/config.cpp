#include <pybind11/stl.h>

#include "bindings/register.hpp"
#include "choice.hpp"
#include "isa/select.hpp"
#include "plan/memory.hpp"
#include "threads/cpus.hpp"
#include "threads/threads.hpp"

namespace ravine::bindings {

namespace py = pybind11;

void register_config(py::module_& module) {
  use_environment("RAVINE_ISA", isa::use);
  use_environment("RAVINE_THREADING", threads::use);
  use_environment("RAVINE_THREADS", threads::use_count);
  use_environment("RAVINE_PREFETCH", memory::use_update_ahead);
  module.def("available_isas", &isa::available, "The instruction sets that can run here, the best last.");
  module.def("isa", [] { return std::string(isa::active().name); }, "The instruction set in use.");
  module.def("use_isa", &isa::use, py::arg("name"), "Changes the instruction set in use.");
  module.def("available_threadings", &threads::available, "The ways of sharing work among threads.");
  module.def("threading", [] { return std::string(threads::active().name); }, "The one in use.");
  module.def("use_threading", &threads::use, py::arg("name"), "Changes the one in use.");
  module.def("num_threads", &threads::count, "How many threads a large step is given.");
  module.def("set_num_threads", &threads::set_count, py::arg("threads"), "Sets it; 0 for the default.");
  module.def(
      "threads_for", [](std::int64_t bytes) { return threads::share_of(bytes).threads; }, py::arg("bytes"),
      "How many threads work on so many bytes of arrays is given.");
  module.def("cpus_by_quota", &threads::cpus_by_quota, py::arg("membership"), py::arg("root"),
             "The CPUs that the quotas of control groups leave to a process, from the text of its /proc/self/cgroup.");
  module.def("share_from", &threads::share_from, py::arg("bytes"),
             "Shares work on so many bytes and more among threads; returns the number until now.");
  module.def("prefetch", &memory::update_ahead,
             "How many bytes before their turn an update asks for its arrays' elements; 0: not at all.");
  module.def("set_prefetch", &memory::set_update_ahead, py::arg("bytes"), "Sets it.");
  module.attr("compiler") = RAVINE_COMPILER;
  module.attr("flags") = RAVINE_FLAGS;
}

}  // namespace ravine::bindings
