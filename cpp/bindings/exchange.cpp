#include "bindings/exchange.hpp"

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "bindings/interpreter.hpp"
#include "bindings/register.hpp"

namespace ravine::bindings {
namespace {

// As in dlpack.h: an interface between compiled libraries, which does not change within a major version.
namespace dlpack {

constexpr std::uint32_t major = 1;
constexpr std::int32_t cpu = 1;
constexpr std::uint8_t floating = 2;

struct Tensor {
  void* data;
  struct {
    std::int32_t type, id;
  } device;
  std::int32_t dimensions;
  struct {
    std::uint8_t code, bits;
    std::uint16_t lanes;
  } dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements
  std::uint64_t byte_offset;
};

struct Exchange {
  struct {
    std::uint32_t major, minor;
  } version;
  const void* previous;
  void (*allocate)();
  void (*managed_from_object)();
  void (*managed_to_object)();
  int (*tensor_from_object)(void* object, Tensor* tensor);  // may be null
  void (*current_stream)();
};

}  // namespace dlpack

// What a type's tensors are seen through.
struct Glance {
  PyTypeObject* type;
  const dlpack::Exchange* table;
  bool works_in_place;
  // Methods of torch's: whether a tensor's negation is postponed; another tensor over its memory; an array over that.
  py::handle is_neg, detach, numpy;
};

// Whether the type itself offers the table: what a subclass of users shows may be something else. torch's Parameter
// differs from its Tensor in nothing that matters here.
bool offers_itself(py::handle type, py::handle name) {
  if (type.attr("__dict__").contains(name)) return true;
  const py::dict modules = py::module_::import("sys").attr("modules");
  const char* const home = "torch.nn.parameter";
  return modules.contains(home) && py::getattr(modules[home], "Parameter", py::none()).is(type);
}

// Forgets a Python error, unless it is to end the program.
void forget_error() {
  if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) throw py::error_already_set();
  PyErr_Clear();
}

// A method of a type called on one object, or nothing where there is none or it raises.
py::object called(py::handle method, py::handle object) {
  if (!method) return {};
  PyObject* const arguments[] = {object.ptr()};
  auto result = py::reinterpret_steal<py::object>(PyObject_Vectorcall(method.ptr(), arguments, 1, nullptr));
  if (!result) forget_error();
  return result;
}

// Looked up once for each type that offers a table, and kept with it for good.
const Glance* glance_of(PyTypeObject* type) {
  static auto& known = *new std::deque<Glance>();  // of two or three types
  for (const Glance& glance : known)
    if (glance.type == type) return &glance;
  static const py::handle name = py::str("__dlpack_c_exchange_api__").release();
  const py::handle object(reinterpret_cast<PyObject*>(type));
  try {
    const auto capsule = py::reinterpret_steal<py::object>(PyObject_GetAttr(object.ptr(), name.ptr()));
    if (!capsule) {
      forget_error();
      return nullptr;
    }
    const auto* table =
        static_cast<const dlpack::Exchange*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    if (!table) PyErr_Clear();
    if (!table || table->version.major != dlpack::major || !table->tensor_from_object || !offers_itself(object, name))
      return nullptr;
    object.inc_ref();
    capsule.inc_ref();
    const auto method = [&object](const char* called) { return py::getattr(object, called, py::object()).release(); };
    return &known.emplace_back(
        Glance{type, table, py::hasattr(object, "zero_"), method("is_neg"), method("detach"), method("numpy")});
  } catch (const py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;
    return nullptr;  // a type whose attributes cannot be read
  }
}

// Whether elements follow one another in memory, the last axis fastest, or the first. Since DLPack 1.2, before there
// were tables, strides are always given.
int order_of(const dlpack::Tensor& tensor, std::int64_t size) {
  if (size == 0) return c_contiguous | f_contiguous;
  const int n = tensor.dimensions;
  if (n > 0 && !tensor.strides) return 0;
  const auto follows = [&](bool last_is_fastest) {
    std::int64_t expected = 1;
    for (int k = 0; k < n; ++k) {
      const int axis = last_is_fastest ? n - 1 - k : k;
      if (tensor.shape[axis] == 1) continue;
      if (tensor.strides[axis] != expected) return false;
      expected *= tensor.shape[axis];
    }
    return true;
  };
  return (follows(true) ? c_contiguous : 0) | (follows(false) ? f_contiguous : 0);
}

std::optional<Seen> seen_through(const Glance& glance, py::handle object) {
  dlpack::Tensor tensor{};
  if (glance.table->tensor_from_object(object.ptr(), &tensor) != 0) {
    PyErr_Clear();
    return std::nullopt;
  }
  const auto& [code, bits, lanes] = tensor.dtype;
  if (tensor.device.type != dlpack::cpu || code != dlpack::floating || (bits != 32 && bits != 64) || lanes != 1)
    return std::nullopt;
  Seen seen{static_cast<char*>(tensor.data) + tensor.byte_offset,
            bits == 32 ? Dtype::float32 : Dtype::float64,
            tensor.dimensions,
            tensor.shape,
            1,
            0};
  for (int axis = 0; axis < tensor.dimensions; ++axis) seen.size *= tensor.shape[axis];
  seen.order = order_of(tensor, seen.size);
  const bool is_there = seen.size == 0 || tensor.data;
  if (!is_there || seen.order == 0 || reinterpret_cast<std::uintptr_t>(seen.data) % item_size(seen.dtype) != 0)
    return std::nullopt;
  return seen;
}

// Objects that may rebind their `.data`, with what each showed when it was pinned.
class RAVINE_HIDDEN Watched {
 public:
  Watched(const py::sequence& objects, const py::sequence& pinned) {
    for (const auto& object : objects) objects_.push_back(py::reinterpret_borrow<py::object>(object));
    for (const auto& each : pinned) {
      holders_.push_back(py::reinterpret_borrow<py::object>(each));
      pinned_.push_back(&each.cast<const Pinned&>());
    }
    if (objects_.size() != pinned_.size()) throw py::value_error("one Pinned is needed for each object");
  }

  py::list moved() const {
    py::list positions;
    for (std::size_t i = 0; i < objects_.size(); ++i)
      if (!shows(objects_[i], *pinned_[i])) positions.append(i);
    return positions;
  }

  template <class Visit>
  void visit(Visit&& each) const {
    for (const std::vector<py::object>* held : {&objects_, &holders_})
      for (const py::object& object : *held) each(object);
  }

 private:
  static bool shows(const py::object& object, const Pinned& pinned) {
    if (!can_be_seen(object)) return false;
    const auto seen = see(object);
    return seen && fits(*seen, pinned) && (seen->data == pinned.data() || seen->size == 0);
  }

  std::vector<py::object> objects_, holders_;
  std::vector<const Pinned*> pinned_;
};

}  // namespace

bool can_be_seen(py::handle tensor) {
  const Glance* const glance = glance_of(Py_TYPE(tensor.ptr()));
  if (!glance) return false;
  return !glance->is_neg || called(glance->is_neg, tensor).ptr() == Py_False;
}

bool can_be_written(py::handle tensor) {
  const Glance* const glance = glance_of(Py_TYPE(tensor.ptr()));
  return glance && glance->works_in_place;
}

py::object held_array(py::handle tensor) {
  const Glance* const glance = glance_of(Py_TYPE(tensor.ptr()));
  const py::object another = glance ? called(glance->detach, tensor) : py::object();
  // The array keeps what it was made from, and torch then refuses to resize the memory.
  const py::object array = another ? called(glance->numpy, another) : py::object();
  return array && is_array(array) ? array : py::object();
}

std::optional<Seen> see(py::handle tensor) {
  const Glance* const glance = glance_of(Py_TYPE(tensor.ptr()));
  return glance ? seen_through(*glance, tensor) : std::nullopt;
}

bool fits(const Seen& tensor, const Pinned& array) {
  return tensor.dtype == array.dtype() && (tensor.order & array.order()) != 0 &&
         std::equal(tensor.shape, tensor.shape + tensor.dimensions, array.shape().begin(), array.shape().end());
}

void register_exchange(py::module_& module) {
  py::class_<Watched>(module, "Watched", collected<Watched>(),
                      "Objects that may rebind their data, with what each was when it was pinned.")
      .def(py::init<py::sequence, py::sequence>(), py::arg("objects"), py::arg("pinned"))
      .def("moved", &Watched::moved,
           "The positions of those that do not show, at a glance, the memory that was pinned.");
}

}  // namespace ravine::bindings
