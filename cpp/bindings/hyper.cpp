#include "bindings/hyper.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bindings/interpreter.hpp"
#include "bindings/register.hpp"
#include "rules/registry.hpp"

namespace ravine::bindings {
namespace {

using Target = Binding::Target;

constexpr std::size_t max_places = 4;  // in a tuple of hyper-parameters

std::string quoted(const std::string& name) { return "'" + name + "'"; }

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list.empty() ? "none" : list;
}

Decay decay_of(const std::string& name) {
  if (name == "none") return Decay::none;
  if (name == "coupled") return Decay::coupled;
  if (name == "decoupled") return Decay::decoupled;
  throw py::value_error("no weight decay is called " + quoted(name));
}

Range range_of(const py::handle& given) {
  const auto kind = given.attr("kind").cast<std::string>();
  Range range{kind == "flag"    ? Range::Kind::flag
              : kind == "whole" ? Range::Kind::whole
                                : Range::Kind::number,
              given.attr("low").cast<double>(),
              given.attr("high").cast<double>(),
              given.attr("low_open").cast<bool>(),
              given.attr("high_open").cast<bool>(),
              !given.attr("none").is_none(),
              0};
  if (range.takes_none) range.none = given.attr("none").cast<double>();
  return range;
}

// Forgets an error that says that a value is not what was expected: Python will say it better. Others are thrown.
void forgive() {
  if (!PyErr_Occurred()) return;
  for (PyObject* const kind : {PyExc_TypeError, PyExc_ValueError, PyExc_OverflowError})
    if (PyErr_ExceptionMatches(kind)) return PyErr_Clear();
  throw py::error_already_set();
}

// Whether an object has no part that could change, or refer to others: a number, but none of a class that users define.
bool is_plain(PyObject* object) {
  if (object == Py_None) return true;
  return !PyType_IS_GC(Py_TYPE(object)) && (PyFloat_Check(object) || PyLong_Check(object) || PyUnicode_Check(object));
}

// Whether it is that, or a tuple of such. They can be held, and need not be read again.
bool is_settled(PyObject* object) {
  if (!PyTuple_CheckExact(object)) return is_plain(object);
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i)
    if (!is_plain(PyTuple_GET_ITEM(object, i))) return false;
  return true;
}

// The numbers that a key holds: the elements of a tuple or list, or the one object. False where there are not as many
// as there have to be.
bool numbers_of(const Binding::Key& key, PyObject* value, double* numbers) {
  if (!key.is_tuple) return key.slots[0].range.read(value, numbers);
  if (!PyTuple_Check(value) && !PyList_Check(value)) return false;
  for (std::size_t k = 0; k < key.slots.size(); ++k) {
    // Asked for each time: converting the one before may have run code that changed a list.
    if (std::size_t(PySequence_Fast_GET_SIZE(value)) != key.slots.size()) return false;
    const auto item = py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(value, Py_ssize_t(k)));
    if (!key.slots[k].range.read(item.ptr(), &numbers[k])) return false;
  }
  return true;
}

bool are_equal(PyObject* a, PyObject* b) {
  const int equal = PyObject_RichCompareBool(a, b, Py_EQ);
  if (equal < 0) forgive();
  return equal == 1;
}

// Whether what a switch was when the rule was chosen, and what it is now, choose the same.
bool choose_the_same(const Binding::Key& key, PyObject* before, PyObject* now, double number) {
  if (key.is_tuple) return are_equal(before, now);
  double number_before;
  return key.slots[0].range.read(before, &number_before) && (number_before == 0) == (number == 0);
}

}  // namespace

bool Range::read(PyObject* object, double* number) const {
  if (object == Py_None) {
    *number = none;
    return takes_none;
  }
  const bool is_float = PyFloat_Check(object) && is_plain(object), is_whole = PyLong_Check(object) && is_plain(object);
  if (kind == Kind::flag && !is_whole) return false;
  if (kind == Kind::whole && (PyBool_Check(object) || !(is_float || is_whole))) return false;
  if (is_float) {
    *number = PyFloat_AS_DOUBLE(object);
  } else {
    // Python reads what classes of users have made, which may do anything meanwhile.
    const auto* const as_number = Py_TYPE(object)->tp_as_number;
    if (!is_whole && (PyType_IS_GC(Py_TYPE(object)) || !as_number || !as_number->nb_float)) return false;
    *number = PyFloat_AsDouble(object);
    if (*number == -1 && PyErr_Occurred()) {
      forgive();
      return false;
    }
  }
  if (!std::isfinite(*number) || (kind != Kind::number && *number != std::floor(*number))) return false;
  return (low_open ? *number > low : *number >= low) && (high_open ? *number < high : *number <= high);
}

Binding::Binding(const std::string& owner, const std::string& rule_name, const std::string& decay,
                 const py::dict& sources, const py::dict& keys, const std::vector<std::string>& switches,
                 const py::dict& modifiers)
    : rule_(rule_called(rule_name)), decay_(decay_of(decay)) {
  const RuleSchema& rule = rule_schemas()[rule_];
  const std::string where = owner + ": its rule " + quoted(rule_name) + " ";
  if (!rule.decays.has(decay_)) throw py::value_error(where + "takes no " + decay + " weight decay.");
  std::vector<std::string> names;
  for (const auto& [given_name, range] : keys) {
    const auto name = given_name.cast<std::string>();
    Key key{name, py::isinstance<py::tuple>(range), {}, false, false, false};
    key.is_switch = std::find(switches.begin(), switches.end(), name) != switches.end();
    if (key.is_tuple)
      for (const py::handle& of_element : range) key.slots.push_back({range_of(of_element), {}});
    else if (!range.is_none())
      key.slots.push_back({range_of(range), {}});
    if (key.slots.size() > max_places) throw py::value_error(where + "has too many numbers in " + quoted(name));
    names.push_back(name);
    keys_.push_back(std::move(key));
  }

  std::vector<std::string> missing = rule.hyper;
  if (decay_ != Decay::none) missing.push_back("weight_decay");
  for (const auto& [given_name, source] : sources) {
    const auto name = given_name.cast<std::string>();
    const auto found = std::find(rule.hyper.begin(), rule.hyper.end(), name);
    Target target{Target::Kind::hyper, int(found - rule.hyper.begin())};
    if (found == rule.hyper.end()) {
      target.index = -1;
      if (name == "maximize")
        target.kind = Target::Kind::maximize;
      else if (name == "weight_decay" && decay_ != Decay::none)
        target.kind = Target::Kind::weight_decay;
      else
        throw py::value_error(where + "takes no hyper-parameter " + quoted(name) + "; it takes " + listed(rule.hyper) +
                              ".");
    }
    missing.erase(std::remove(missing.begin(), missing.end(), name), missing.end());
    if (py::isinstance<py::float_>(source)) {
      if (target.kind != Target::Kind::hyper) throw py::value_error(where + "takes " + name + " from the group alone.");
      constants_[target.index] = source.cast<double>();
      continue;
    }
    const bool has_place = py::isinstance<py::tuple>(source);
    const auto key_name =
        (has_place ? py::object(source[py::int_(0)]) : py::reinterpret_borrow<py::object>(source)).cast<std::string>();
    const std::size_t place = has_place ? source[py::int_(1)].cast<std::size_t>() : 0;
    const auto key = std::find_if(keys_.begin(), keys_.end(), [&](const Key& each) { return each.name == key_name; });
    if (key == keys_.end())
      throw py::value_error(where + "takes " + quoted(name) + " from " + quoted(key_name) + ", which no group has.");
    if (place >= key->slots.size() || key->is_tuple != has_place)
      throw py::type_error(where + "takes a number for " + quoted(name) + ", but " + owner + " declares " +
                           quoted(key_name) + " as something else.");
    key->slots[place].targets.push_back(target);
    key->feeds = true;
  }
  if (!missing.empty())
    throw py::value_error(where + "takes " + listed(missing) + ", which " + owner + " does not declare; it has " +
                          listed(names) + ".");
  for (const auto& [given_name, range] : modifiers) {
    const auto name = given_name.cast<std::string>();
    const auto kind = name == "cautious"         ? Target::Kind::cautious
                      : name == "max_update_rms" ? Target::Kind::max_update_rms
                                                 : Target::Kind::max_grad_rms;
    keys_.push_back({name, false, {{range_of(range), {{kind, -1}}}}, true, false, true});
  }
}

void HyperReader::bind(const py::object& binding, const py::dict& checked, Plan::Group& group) {
  held_ = binding;
  binding_ = &binding.cast<const Binding&>();
  group.hyper = binding_->constants();
  for (const Binding::Key& key : binding_->keys()) {
    // Interned, as keys in programs are: a dict then finds it by its address.
    const auto name = py::reinterpret_steal<py::str>(PyUnicode_InternFromString(key.name.c_str()));
    if (!name) throw py::error_already_set();
    if (key.is_modifier && !checked.contains(name)) {
      seen_.push_back({name, py::object(), true});
      continue;
    }
    seen_.push_back({name, checked[name], false});
    if (key.feeds && !read(seen_.size() - 1, seen_.back().value.ptr(), group))
      throw py::value_error("the hyper-parameter " + quoted(key.name) + " is not as it was checked");
  }
}

bool HyperReader::read(PyObject* dict, Plan::Group& group) {
  if (!binding_ || !PyDict_Check(dict)) return false;
  for (std::size_t index = 0; index < seen_.size(); ++index) {
    Seen& seen = seen_[index];
    PyObject* const found = PyDict_GetItemWithError(dict, seen.name.ptr());
    if (!found && PyErr_Occurred()) throw py::error_already_set();
    if (found == seen.value.ptr() && seen.is_settled) continue;
    const auto value = py::reinterpret_borrow<py::object>(found);
    if (!value) return false;
    if (binding_->keys()[index].feeds) {
      if (!read(index, value.ptr(), group)) return false;
    } else if ((PyBool_Check(seen.value.ptr()) && !PyLong_Check(value.ptr())) ||
               !are_equal(seen.value.ptr(), value.ptr())) {
      return false;
    }
    // What may change, or refer to whoever holds this reader, is not kept.
    seen.is_settled = is_settled(value.ptr());
    if (seen.is_settled) seen.value = value;
  }
  return group.max_update_rms == Plan::infinity || group.max_grad_rms == Plan::infinity;
}

// Reads the numbers of one key, all or none of them.
bool HyperReader::read(std::size_t index, PyObject* value, Plan::Group& group) {
  const Binding::Key& key = binding_->keys()[index];
  double numbers[max_places];
  if (!numbers_of(key, value, numbers)) return false;
  if (key.is_switch && !choose_the_same(key, seen_[index].value.ptr(), value, numbers[0])) return false;
  for (std::size_t k = 0; k < key.slots.size(); ++k)
    for (const Target& target : key.slots[k].targets) switch (target.kind) {
        case Target::Kind::hyper: group.hyper[target.index] = numbers[k]; break;
        case Target::Kind::maximize: group.maximize = numbers[k] != 0; break;
        case Target::Kind::cautious: group.cautious = numbers[k] != 0; break;
        case Target::Kind::max_update_rms: group.max_update_rms = numbers[k]; break;
        case Target::Kind::max_grad_rms: group.max_grad_rms = numbers[k]; break;
        case Target::Kind::weight_decay:
          group.weight_decay = numbers[k];
          group.decay = numbers[k] == 0 ? Decay::none : binding_->decay();
          break;
      }
  return true;
}

void register_hyper(py::module_& module) {
  py::class_<Binding>(module, "Binding", not_empty(), "Which of a group's keys feed the hyper-parameters of a rule.")
      .def(py::init<const std::string&, const std::string&, const std::string&, const py::dict&, const py::dict&,
                    const std::vector<std::string>&, const py::dict&>(),
           py::arg("owner"), py::arg("rule"), py::arg("decay"), py::arg("sources"), py::arg("keys"),
           py::arg("switches"), py::arg("modifiers") = py::dict());
}

}  // namespace ravine::bindings
