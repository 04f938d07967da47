// Many arguments of one call, by name: a dict from Python, read into a struct.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <tuple>

namespace ravine::bindings {

namespace py = pybind11;

// A member of a struct and its key.
template <class Struct, class T>
struct Field {
  Field(const char* name, T Struct::* member_) : key(PyUnicode_InternFromString(name)), member(member_) {}

  PyObject* key;  // kept for good
  T Struct::* member;
};

// Reads dicts that have exactly these keys, fastest in this order. To be made once, static.
template <class Struct, class... T>
class ArgumentReader {
 public:
  explicit ArgumentReader(Field<Struct, T>... fields) : fields_(fields...) {}

  // Throws TypeError for a key that is missing or unknown, and for a value of another type.
  Struct read(const py::dict& given) const {
    Struct found;
    Py_ssize_t position = 0;
    std::apply([&](const auto&... field) { (read_field(given, position, field, found), ...); }, fields_);
    if (given.size() > sizeof...(T))
      throw py::type_error("unknown name among " + py::str(py::list(given)).cast<std::string>());
    return found;
  }

 private:
  template <class Member>
  static void read_field(const py::dict& given, Py_ssize_t& position, const Field<Struct, Member>& field,
                         Struct& found) {
    PyObject *key, *value;
    if (!PyDict_Next(given.ptr(), &position, &key, &value) || key != field.key)
      value = PyDict_GetItemWithError(given.ptr(), field.key);
    if (!value) throw py::type_error(py::str(field.key).cast<std::string>() + " is missing");
    try {
      found.*field.member = py::cast<Member>(py::handle(value));
    } catch (const py::cast_error&) {
      throw py::type_error(py::str("{}={!r} has another type").format(py::handle(field.key), py::handle(value)));
    }
  }

  std::tuple<Field<Struct, T>...> fields_;
};

}  // namespace ravine::bindings
