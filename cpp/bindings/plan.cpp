// The class Plan of Python: checks everything that comes, then makes one call to ravine::Plan a step.
#include "plan/plan.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "bindings/arrays.hpp"
#include "bindings/register.hpp"
#include "bindings/sparse.hpp"
#include "plan/rule_table.hpp"

namespace ravine::bindings {
namespace {

int rule_index(const std::string& name) {
  const auto& rules = rule_table();
  for (std::size_t i = 0; i < rules.size(); ++i)
    if (name == rules[i].name) return int(i);
  throw py::value_error("no rule is called '" + name + "'");
}

// The matrices of a factored parameter as they lie in memory. Those of a matrix in Fortran order are transposed there.
struct Matrices {
  std::int64_t rows, columns, of_rows, of_columns;  // and how many there are of all matrices together
  bool transposed;
};

Matrices matrices_of(const py::array& array) {
  const auto& f = fields(array);
  const bool transposed = !(f.flags & c_contiguous);
  if (f.nd < 2 || (transposed && f.nd > 2)) throw py::value_error("a factored rule needs matrices in C order");
  const std::int64_t rows = f.dimensions[f.nd - (transposed ? 1 : 2)];
  const std::int64_t columns = f.dimensions[f.nd - (transposed ? 2 : 1)];
  std::int64_t matrices = 1;
  for (int axis = 0; axis < f.nd - 2; ++axis) matrices *= f.dimensions[axis];
  return {rows, columns, matrices * rows, matrices * columns, transposed};
}

class PyPlan {
 public:
  PyPlan(std::string owner, const std::vector<py::array>& parameters, const std::vector<std::string>& labels,
         const std::vector<int>& groups, py::array_t<std::int64_t> steps)
      : owner_(std::move(owner)),
        steps_(std::move(steps)),
        states_(parameters.size()),
        scalars_(parameters.size()),
        reordered_(parameters.size()),
        gradients_(parameters.size()),
        sparse_(parameters.size()) {
    if (labels.size() != parameters.size() || groups.size() != parameters.size() ||
        std::size_t(steps_.size()) != parameters.size())
      throw py::value_error("a plan needs one label, one group and one step count for each parameter");
    std::vector<Plan::Tensor> tensors(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      parameters_.emplace_back(parameters[i], owner_, labels[i]);
      tensors[i].arrays.parameter = parameters_[i].data();
      tensors[i].size = parameters_[i].size();
      tensors[i].dtype = parameters_[i].dtype();
      tensors[i].group = groups[i];
    }
    const int group_count = groups.empty() ? 0 : 1 + *std::max_element(groups.begin(), groups.end());
    plan_ = std::make_unique<Plan>(std::move(tensors), group_count, steps_.mutable_data());
    applied_.resize(group_count);
  }

  // Gives a parameter its rule, and the arrays of its state and its scalars, in the rule's order.
  void bind(std::size_t i, const std::string& name, const std::vector<py::array>& arrays,
            const std::vector<py::array_t<double>>& scalars) {
    const int index = rule_index(name);
    const RuleInfo& rule = rule_table()[index];
    Plan::Tensor& tensor = plan_->tensors.at(i);
    if (arrays.size() != rule.states.size() || scalars.size() != rule.scalars.size())
      throw py::value_error(name + " keeps another number of states or scalars");
    Matrices matrices{};
    if (rule.is_factored) matrices = matrices_of(parameters_[i].array());
    scalars_[i] = scalars;
    states_[i].clear();
    std::fill_n(tensor.arrays.states, max_states, nullptr);
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      states_[i].emplace_back(arrays[k], owner_, "state '" + rule.states[k] + "' of " + parameters_[i].label());
      const std::int64_t size = !rule.is_factored                 ? tensor.size
                                : (k == 0) != matrices.transposed ? matrices.of_rows
                                                                  : matrices.of_columns;
      if (states_[i][k].size() != size || states_[i][k].dtype() != tensor.dtype)
        throw py::value_error(states_[i][k].label() + " does not fit its parameter");
      tensor.arrays.states[k] = states_[i][k].data();
    }
    if (matrices.transposed) std::swap(tensor.arrays.states[0], tensor.arrays.states[1]);
    tensor.scalars = {};
    for (std::size_t k = 0; k < scalars.size(); ++k) tensor.scalars[k] = scalars_[i][k].mutable_data();
    plan_->bind(i, index, matrices.rows, matrices.columns);
    bound_ = false;
  }

  // `source` is what the numbers were made from: the hyper-parameters of the group.
  void set(int group, const std::map<std::string, double>& hyper, bool decoupled, bool maximize,
           const py::dict& source) {
    Hyper values;
    for (const auto& [name, value] : hyper) {
      const auto field = std::find_if(std::begin(hyper_fields), std::end(hyper_fields),
                                      [&name = name](const HyperField& f) { return name == f.name; });
      if (field == std::end(hyper_fields)) throw py::value_error("no rule uses a hyper-parameter '" + name + "'");
      values.*(field->value) = value;
    }
    Plan::Group& target = plan_->groups.at(group);
    target.hyper = values;
    target.decay = values.weight_decay == 0 ? Decay::none : decoupled ? Decay::decoupled : Decay::coupled;
    target.maximize = maximize;
    applied_[group].clear();
    for (const auto& [name, value] : source)
      applied_[group].emplace_back(py::reinterpret_borrow<py::object>(name), py::reinterpret_borrow<py::object>(value));
  }

  // The positions of the groups whose hyper-parameters are not those that were set.
  std::vector<int> stale(py::handle param_groups) const {
    const auto groups = py::reinterpret_steal<py::object>(PySequence_Fast(param_groups.ptr(), "expected a sequence"));
    if (!groups) throw py::error_already_set();
    std::vector<int> found;
    for (py::ssize_t group = 0; group < PySequence_Fast_GET_SIZE(groups.ptr()); ++group)
      if (!is_applied(std::size_t(group), PySequence_Fast_GET_ITEM(groups.ptr(), group))) found.push_back(int(group));
    return found;
  }

  // Makes a step, or returns false, having done nothing, where a group's hyper-parameters are not those that were set.
  bool step(const py::sequence& gradients, py::handle param_groups) {
    if (!param_groups.is_none() && !stale(param_groups).empty()) return false;
    if (!bound_) find_written();
    const py::tuple items(gradients);  // a list could change while a gradient is being converted
    const std::size_t given = items.size();
    if (given != parameters_.size())
      throw py::value_error(owner_ + ".step: got " + std::to_string(given) + " gradients for " +
                            std::to_string(parameters_.size()) +
                            " parameters; give one for each, None where there is none this time");
    struct Release {
      std::vector<py::object>& held;
      ~Release() {
        for (py::object& object : held) object = py::object();
      }
    } const release_at_the_end{gradients_};
    for (std::size_t i = 0; i < given; ++i) {
      gradients_[i] = gradient_for(i, py::handle(PyTuple_GET_ITEM(items.ptr(), py::ssize_t(i))));
      Plan::Tensor& tensor = plan_->tensors[i];
      tensor.rows.reset();
      if (gradients_[i] && !is_array(gradients_[i]))
        take_sparse(i);
      else
        tensor.arrays.gradient = gradients_[i] ? fields(gradients_[i]).data : nullptr;
    }
    if (plan_->prepare() < elements_worth_releasing) {
      plan_->run();
    } else {
      py::gil_scoped_release release;
      plan_->run();
    }
    return true;
  }

 private:
  struct Interval {
    const char* begin;
    const char* end;
    const Pinned* array;
  };

  bool is_applied(std::size_t group, py::handle hyper) const {
    if (group >= applied_.size() || applied_[group].empty() || !PyDict_Check(hyper.ptr())) return false;
    for (const auto& [name, value] : applied_[group]) {
      PyObject* const now = PyDict_GetItemWithError(hyper.ptr(), name.ptr());
      if (PyErr_Occurred()) throw py::error_already_set();
      if (!now || (now != value.ptr() && !py::reinterpret_borrow<py::object>(now).equal(value))) return false;
    }
    return true;
  }

  // An array with the gradient's values, laid out as the parameter, that stays valid while it is held. Null: none. A
  // SparseGrad comes back as it is.
  py::object gradient_for(std::size_t i, py::handle given) {
    if (given.is_none()) return py::object();
    const Pinned& parameter = parameters_[i];
    parameter.check_unchanged();
    for (const Pinned& state : states_[i]) state.check_unchanged();
    py::object gradient =
        is_array(given)
            ? py::reinterpret_borrow<py::object>(given)
            : py::module_::import("ravine._sparse").attr("as_gradient")(given, owner_ + ": " + parameter.label());
    if (!is_array(gradient)) return gradient;
    if (!same_dtype(gradient, parameter.array()) || !same_shape(gradient, parameter.array()))
      throw py::value_error(owner_ + ": " + parameter.label() + ": its gradient is " + describe(gradient) +
                            "; expected " + describe(parameter.array()) +
                            ". Convert it with grad.astype(...) or grad.reshape(...).");
    if (!(fields(gradient).flags & aligned) || !same_order(gradient, parameter.array())) return reordered(i, gradient);
    if (fields(gradient).data != clear_[i]) {
      check_overlap(parameter, gradient);
      clear_[i] = fields(gradient).data;
    }
    return gradient;
  }

  // Gives the plan what it needs of the SparseGrad that has come for a parameter.
  void take_sparse(std::size_t i) {
    Plan::Tensor& tensor = plan_->tensors[i];
    const Pinned& parameter = parameters_[i];
    check_rule_is_sparse(owner_ + ": " + parameter.label(), tensor.rule, plan_->groups[tensor.group]);
    const py::object values = sparse_[i].take(owner_ + ": " + parameter.label(), parameter, gradients_[i]);
    check_overlap(parameter, values);
    gradients_[i] = values;
    tensor.rows = sparse_[i].rows();
    tensor.arrays.gradient = sparse_[i].values();
  }

  // The gradient copied into the parameter's memory order. The room for it is kept for the next step.
  py::object reordered(std::size_t i, const py::object& gradient) {
    const py::module_ numpy = py::module_::import("numpy");
    py::object& room = reordered_[i];
    if (!room || !same_order(room, parameters_[i].array()) || !same_shape(room, parameters_[i].array()))
      room = numpy.attr("empty_like")(parameters_[i].array(), py::arg("subok") = false);
    numpy.attr("copyto")(room, gradient);
    return room;
  }

  void check_overlap(const Pinned& parameter, py::handle gradient) const {
    const char* begin = fields(gradient).data;
    const char* end = begin + size_of(gradient) * item_size(parameter.dtype());
    const auto after = std::upper_bound(written_.begin(), written_.end(), begin,
                                        [](const char* at, const Interval& interval) { return at < interval.end; });
    if (begin < end && after != written_.end() && after->begin < end)
      throw py::value_error(owner_ + ": " + parameter.label() + ": its gradient shares memory with " +
                            after->array->label() + ", which the step writes to. Pass a copy of the gradient.");
  }

  // All memory that a step writes to, in order of address. Python has made sure that none of it overlaps.
  void find_written() {
    written_.clear();
    clear_.assign(parameters_.size(), nullptr);
    const auto add = [this](const Pinned& array) {
      const auto* begin = static_cast<const char*>(array.data());
      if (array.size() > 0) written_.push_back({begin, begin + array.bytes(), &array});
    };
    bound_ = true;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      add(parameters_[i]);
      for (const Pinned& state : states_[i]) add(state);
    }
    std::sort(written_.begin(), written_.end(), [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  }

  std::string owner_;
  py::array_t<std::int64_t> steps_;
  std::vector<Pinned> parameters_;
  std::vector<std::vector<Pinned>> states_;
  std::vector<std::vector<py::array_t<double>>> scalars_;
  std::vector<py::object> reordered_;
  std::vector<py::object> gradients_;  // held during a step, while the interpreter may run other threads
  std::vector<SparseGradient> sparse_;
  std::vector<std::vector<std::pair<py::object, py::object>>> applied_;  // each group's hyper-parameters, by name
  std::vector<Interval> written_;
  std::vector<const char*> clear_;  // where each parameter's gradient last was, sharing no memory with these
  bool bound_ = false;              // whether written_ is up to date
  std::unique_ptr<Plan> plan_;
};

}  // namespace

void register_plan(py::module_& module) {
  module.def(
      "rules",
      [] {
        py::dict result;
        for (const RuleInfo& rule : rule_table())
          result[rule.name] = py::make_tuple(py::tuple(py::cast(rule.states)), py::tuple(py::cast(rule.scalars)));
        return result;
      },
      "Every update rule, with the names of the arrays, and of the numbers, that it keeps beside each parameter.");

  py::class_<PyPlan>(module, "Plan", "All tensors of an optimizer, updated in one call a step.")
      .def(py::init<std::string, const std::vector<py::array>&, const std::vector<std::string>&,
                    const std::vector<int>&, py::array_t<std::int64_t>>(),
           py::arg("owner"), py::arg("parameters"), py::arg("labels"), py::arg("groups"), py::arg("steps").noconvert())
      .def("bind", &PyPlan::bind, py::arg("parameter"), py::arg("rule"), py::arg("states"), py::arg("scalars"))
      .def("set", &PyPlan::set, py::arg("group"), py::arg("hyper"), py::arg("decoupled"), py::arg("maximize"),
           py::arg("source"))
      .def("stale", &PyPlan::stale, py::arg("param_groups"))
      .def("step", &PyPlan::step, py::arg("gradients"), py::arg("param_groups") = py::none());
}

}  // namespace ravine::bindings
