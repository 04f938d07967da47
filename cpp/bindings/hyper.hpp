// The hyper-parameters of a group: where in its dict each one that a rule takes is found, and reading them at each
// step.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "plan/plan.hpp"

namespace ravine::bindings {

namespace py = pybind11;

// The numbers that a hyper-parameter may be: ravine/_hyper.py's Range.
struct Range {
  enum class Kind { number, whole, flag };

  Kind kind;
  double low, high;
  bool low_open, high_open;
  bool takes_none;
  double none;  // what None stands for

  // The number that an object stands for. False where it is none of these, or of a type that Python should look at.
  bool read(PyObject* object, double* number) const;
};

// Which of a group's keys feed the hyper-parameters of a rule. Made once for each rule of a class of optimizers.
class RAVINE_HIDDEN Binding {
 public:
  // What a number of a group becomes.
  struct Target {
    enum class Kind { hyper, weight_decay, maximize, cautious, max_update_rms, max_grad_rms };

    Kind kind;
    int index;  // of a hyper-parameter, among the rule's
  };

  // A number of a group, and what it feeds.
  struct Slot {
    Range range;
    std::vector<Target> targets;
  };

  struct Key {
    std::string name;
    bool is_tuple;
    std::vector<Slot> slots;  // of each element of a tuple, or of the one number
    bool feeds;               // whether any of them feeds anything; if not, another value is for Python to look at
    bool is_switch;           // whether Python is to look at another tuple too, and at a number that was or becomes 0
    bool is_modifier;         // whether a group need not have it
  };

  // `keys` are those of a group, each with its Range, a tuple of these, or None. `sources` says for each
  // hyper-parameter of the rule, for "weight_decay" where `decay` is not none, and for "maximize", where it comes from:
  // a number, a key, or (key, place). `switches` are the keys that choose the rule; `modifiers` those that a group need
  // not have, each with its Range: "cautious", "max_update_rms", "max_grad_rms". Throws where a hyper-parameter is
  // missing, unknown or no number.
  Binding(const std::string& owner, const std::string& rule, const std::string& decay, const py::dict& sources,
          const py::dict& keys, const std::vector<std::string>& switches, const py::dict& modifiers);

  int rule() const { return rule_; }
  Decay decay() const { return decay_; }
  const std::vector<Key>& keys() const { return keys_; }
  const Plan::Hyper& constants() const { return constants_; }

 private:
  int rule_;
  Decay decay_;
  std::vector<Key> keys_;
  Plan::Hyper constants_{};  // those that are the same for every group
};

// Reads a group's dict into the numbers that a plan steps with.
class HyperReader {
 public:
  // `checked` are the hyper-parameters of the group, as Python has checked them.
  void bind(const py::object& binding, const py::dict& checked, Plan::Group& group);

  const Binding* binding() const { return binding_; }

  // Takes over what has changed. False where Python has to look at it: to phrase an error, or to choose a rule.
  bool read(PyObject* dict, Plan::Group& group);

  template <class Visit>
  void visit(Visit&& each) const {
    for (const Seen& seen : seen_)
      if (seen.value) each(seen.value);
  }

 private:
  struct Seen {
    py::object name;
    py::object value;  // what was checked, or read since, without parts that could change; null: it was not there
    bool is_settled;   // whether it was that object at the last reading
  };

  bool read(std::size_t key, PyObject* value, Plan::Group& group);

  py::object held_;
  const Binding* binding_ = nullptr;  // in `held_`
  std::vector<Seen> seen_;
};

}  // namespace ravine::bindings
