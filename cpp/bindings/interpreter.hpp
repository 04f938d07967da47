// Living with the interpreter: its lock, its end, and its collector of garbage.
#pragma once

#include <pybind11/pybind11.h>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

#include <chrono>
#include <cstdint>
#include <thread>

namespace ravine::bindings {

namespace py = pybind11;

// Calls what asks for the interpreter lock, or runs Python code, which does so again and again. Where the interpreter
// has ended meanwhile, CPython before 3.14 ends a thread that asks for the lock by unwinding its stack, through
// destructors that need the interpreter and must not throw. As in 3.14, such a thread stops here instead, until the
// process is gone.
template <class Call>
#if defined(__GLIBCXX__)
__attribute__((noinline, no_sanitize("null")))  // what unwinds is no object, and its reference is null
#endif
auto in_python(Call&& call) {
#if defined(__GLIBCXX__)
  try {
    return call();
  } catch (const abi::__forced_unwind&) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
#else
  return call();
#endif
}

// Without the interpreter lock, as long as one is there.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  Unlocked(const Unlocked&) = delete;
  ~Unlocked() {
    in_python([this] { PyEval_RestoreThread(state_); });
  }

 private:
  PyThreadState* state_;
};

// With it, in the midst of that.
class Locked {
 public:
  Locked() {
    in_python([this] { state_ = PyGILState_Ensure(); });
  }
  Locked(const Locked&) = delete;
  ~Locked() { PyGILState_Release(state_); }

 private:
  PyGILState_STATE state_;
};

// Below this, releasing the interpreter lock costs more than the work.
constexpr std::int64_t elements_worth_releasing = 1 << 12;

inline bool keeps_lock(std::int64_t size) { return size < elements_worth_releasing; }

// Calls function() without the interpreter lock, unless that would cost more than it does on so many elements.
template <class Function>
auto without_lock(std::int64_t size, Function&& function) {
  if (keeps_lock(size)) return function();
  const Unlocked unlocked;
  return function();
}

// Refuses to make an object that is not to be initialised, which copying and pickling would do: there is nothing in it.
inline void refuse_empty(PyTypeObject& type) {
  type.tp_new = [](PyTypeObject* made, PyObject* args, PyObject* kwargs) -> PyObject* {
    if (PyTuple_GET_SIZE(args) > 0 || (kwargs && PyDict_GET_SIZE(kwargs) > 0))
      return reinterpret_cast<PyTypeObject*>(py::detail::get_internals().instance_base)->tp_new(made, args, kwargs);
    PyErr_Format(PyExc_TypeError, "%s cannot be made without arguments, copied or pickled", made->tp_name);
    return nullptr;
  };
}

inline py::custom_type_setup not_empty() {
  return py::custom_type_setup([](PyHeapTypeObject* heap_type) { refuse_empty(heap_type->ht_type); });
}

// The same, and shows the collector what an object refers to, so that a cycle of references through it can be found.
// T::visit calls a function for each handle.
template <class T>
py::custom_type_setup collected() {
  return py::custom_type_setup([](PyHeapTypeObject* heap_type) {
    PyTypeObject& type = heap_type->ht_type;
    refuse_empty(type);
    type.tp_flags |= Py_TPFLAGS_HAVE_GC;
    type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
      Py_VISIT(Py_TYPE(self));
      if (!py::detail::is_holder_constructed(self)) return 0;
      int stopped = 0;
      py::cast<const T&>(py::handle(self)).visit([&](py::handle held) {
        if (held && stopped == 0) stopped = visit(held.ptr(), arg);
      });
      return stopped;
    };
  });
}

}  // namespace ravine::bindings
