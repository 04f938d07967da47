// The class Plan of Python: checks everything that comes, then makes one call to ravine::Plan a step.
#include "plan/plan.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "bindings/hyper.hpp"
#include "bindings/interpreter.hpp"
#include "bindings/parameters.hpp"
#include "bindings/register.hpp"
#include "rules/registry.hpp"

namespace ravine::bindings {
namespace {

const char* name_of(StateKind kind) {
  switch (kind) {
    case StateKind::element: return "element";
    case StateKind::row: return "row";
    case StateKind::column: return "column";
    case StateKind::scratch: break;
  }
  return "scratch";
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
  using Given = std::tuple<py::object, int, py::object>;
  using Named = std::map<std::string, py::array>;
  using NamedNumbers = std::map<std::string, py::object>;

  // Each parameter, a Pinned, with its group and its step count, which the plan advances, as it does `made`, the number
  // of steps of whichever parameters, and `skipped`, how many have been skipped since the last of them.
  PyPlan(const std::string& owner, const std::vector<Given>& given, const py::object& made, const py::object& skipped)
      : owner_(owner),
        parameters_(owner),
        made_(made),
        skipped_(skipped),
        made_number_(number_in<std::int64_t>(made, "made")),
        skipped_number_(number_in<std::int64_t>(skipped, "skipped")) {
    std::vector<Plan::Tensor> tensors;
    int groups = 0;
    for (const auto& [pinned, group, step_count] : given) {
      Parameter& parameter = parameters_.all.emplace_back(pinned.cast<const Pinned&>(), step_count);
      if (group < 0 || group >= int(given.size()))
        throw py::value_error("a plan needs a group of " + parameter.array.label());
      Plan::Tensor tensor;
      tensor.arrays.parameter = parameter.array.data();
      tensor.size = parameter.array.size();
      tensor.dtype = parameter.array.dtype();
      tensor.group = group;
      tensor.step_count = number_in<std::int64_t>(step_count, "the step count of " + parameter.array.label());
      tensors.push_back(std::move(tensor));
      size_ += tensors.back().size;
      groups = std::max(groups, group + 1);
    }
    readers_.resize(groups);
    updated_.resize(parameters_.all.size());
    plan_ = std::make_unique<Plan>(std::move(tensors), groups);
  }

  // Gives a group where its hyper-parameters are found, and what they are: `checked`, as Python has checked them.
  void set_group(int group, const py::object& binding, const py::dict& checked) {
    const Alone alone(*this);
    HyperReader reader;
    Plan::Group numbers;
    reader.bind(binding, checked, numbers);
    readers_.at(group) = std::move(reader);
    plan_->groups.at(group) = numbers;
    is_ready_ = false;
  }

  // Gives a parameter its rule, and by name the arrays of its state and the numbers that the rule carries.
  void bind(std::size_t i, const std::string& rule_name, const Named& states, const NamedNumbers& carried) {
    const Alone alone(*this);
    Parameter& parameter = parameters_.all.at(i);
    Plan::Tensor& tensor = plan_->tensors[i];
    parameter.array.check_unchanged();  // the group's numbers have been read since, which may run code of users
    const int index = rule_for(tensor.group, rule_name);
    const RuleSchema& rule = rule_schemas()[index];
    Matrices matrices{};
    if (rule.is_factored) matrices = matrices_of(parameter.array.array());
    std::vector<Pinned> pinned;
    for (const State& state : rule.states) {
      const bool is_row = state.kind == StateKind::row, is_column = state.kind == StateKind::column;
      const std::int64_t size = !is_row && !is_column           ? tensor.size
                                : is_row != matrices.transposed ? matrices.of_rows
                                                                : matrices.of_columns;
      pinned.emplace_back(found(states, state.name, rule), owner_,
                          "state '" + std::string(state.name) + "' of " + parameter.array.label());
      const py::array& array = parameter.array.array();
      const bool is_alike =
          is_row || is_column || (same_shape(pinned.back().array(), array) && same_order(pinned.back().array(), array));
      if (pinned.back().size() != size || pinned.back().dtype() != tensor.dtype || !is_alike)
        throw py::value_error(pinned.back().label() + " does not fit its parameter: " + rule.name + " keeps one of " +
                              std::to_string(size) + " elements (kind '" + name_of(state.kind) + "')");
    }
    std::vector<py::object> numbers;
    std::array<double*, max_carried> places{};
    for (const std::string& name : rule.carried) {
      numbers.push_back(found(carried, name, rule));
      places[numbers.size() - 1] = number_in<double>(numbers.back(), "'" + name + "' of " + parameter.array.label());
    }
    if (states.size() != pinned.size() || carried.size() != numbers.size())
      throw py::value_error(std::string(rule.name) + " keeps fewer states or numbers than it was given");

    std::fill_n(tensor.arrays.states, max_states, nullptr);
    for (std::size_t k = 0; k < pinned.size(); ++k) tensor.arrays.states[k] = pinned[k].data();
    if (matrices.transposed) std::swap(tensor.arrays.states[0], tensor.arrays.states[1]);
    tensor.carried = places;
    parameter.states = std::move(pinned);
    parameter.carried = std::move(numbers);
    plan_->bind(i, index, matrices.rows, matrices.columns);
    is_ready_ = false;
  }

  // What changes the directions that rules propose, given the positions of the parameters that have a gradient.
  void set_transform(const py::object& transform) {
    const Alone alone(*this);
    transform_ = transform;
    plan_->transform = [this] {
      const Locked locked;
      py::list positions;
      for (std::size_t i = 0; i < parameters_.all.size(); ++i)
        if (parameters_.all[i].gradient) positions.append(i);
      in_python([&] { transform_(positions); });
    };
  }

  // What sums of all blocks become before anything is decided by them: called with an array of shape (blocks, 2), in
  // which it may change them.
  void set_reduce(const py::object& reduce) {
    const Alone alone(*this);
    reduce_ = reduce;
    if (reduce.is_none()) {
      plan_->reduce = nullptr;
      return;
    }
    plan_->reduce = [this](SumPair* sums, std::size_t count) {
      const Locked locked;
      static_assert(sizeof(SumPair) == 2 * sizeof(double));
      // A copy, which may be kept.
      py::array_t<double> copy({py::ssize_t(count), py::ssize_t(2)}, &sums->first);
      in_python([&] { reduce_(copy); });
      if (copy.size() != py::ssize_t(2 * count)) throw py::value_error("the sums have been resized");
      std::memcpy(sums, copy.data(), count * sizeof(SumPair));
    };
  }

  // Gives each parameter an average, a Pinned, that steps keep; none: no averages. `steps` counts them.
  void set_averages(const std::vector<py::object>& averages, std::optional<double> decay, bool warms_up,
                    std::int64_t every, const py::object& steps) {
    const Alone alone(*this);
    std::vector<Pinned> pinned;
    for (std::size_t i = 0; i < averages.size(); ++i) {
      const Pinned& array = parameters_.all.at(i).array;
      const Pinned& average = pinned.emplace_back(averages[i].cast<const Pinned&>());
      if (average.size() != array.size() || average.dtype() != array.dtype() ||
          !same_shape(average.array(), array.array()) || !same_order(average.array(), array.array()))
        throw py::value_error(average.label() + " does not fit its parameter");
    }
    if (!pinned.empty() && (pinned.size() != parameters_.all.size() || every < 1))
      throw py::value_error(owner_ + ": expected an average for each parameter, every step or less often");
    Plan::Averaging averaging{decay, warms_up, every, nullptr};
    if (!pinned.empty()) averaging.steps = number_in<std::int64_t>(steps, "the steps of the averages");
    for (std::size_t i = 0; i < parameters_.all.size(); ++i) {
      parameters_.all[i].average.reset();
      if (!pinned.empty()) parameters_.all[i].average = std::move(pinned[i]);
      plan_->tensors[i].arrays.average = pinned.empty() ? nullptr : parameters_.all[i].average->data();
    }
    averaged_ = steps;
    plan_->averaging = averaging;
    is_ready_ = false;
  }

  // Lets steps leave these parameters, and no others, alone whatever their gradients. Positions in increasing order.
  void set_frozen(const std::vector<std::size_t>& positions) {
    const Alone alone(*this);
    if (!positions.empty()) parameters_.all.at(positions.back());
    parameters_.frozen = positions;
  }

  // Makes a step, or returns false, no array touched, where Python has to look at a group's hyper-parameters first.
  bool step(const py::sequence& gradients, py::handle param_groups) {
    return step_with(gradients, param_groups, Plan::Extras());
  }

  bool step_with(const py::sequence& gradients, py::handle param_groups, const Plan::Extras& extras) {
    const Alone alone(*this);
    if (!read(param_groups)) return false;
    make_step(gradients, extras);
    return true;
  }

  // Makes a step with the hyper-parameters as they were set, or read last.
  void step_as_set(const py::sequence& gradients, const Plan::Extras& extras) {
    const Alone alone(*this);
    make_step(gradients, extras);
  }

  // Updates one parameter, with the hyper-parameters as they were set, or read last. Each once until `end_step`.
  bool step_one(std::size_t i, py::handle gradient, py::handle param_groups, const Plan::Extras& extras) {
    const Alone alone(*this);
    if (!read(param_groups)) return false;
    make_step_of_one(i, gradient, extras);
    return true;
  }

  void step_one_as_set(std::size_t i, py::handle gradient, const Plan::Extras& extras) {
    const Alone alone(*this);
    make_step_of_one(i, gradient, extras);
  }

  void end_step() {
    const Alone alone(*this);
    if (!is_ready_) make_ready();
    if (plan_->averaging.steps)
      for (std::size_t i = 0; i < updated_.size(); ++i) parameters_.check_average(i);
    without_lock(plan_->prepare_end(updated_), [&] { plan_->run(); });
    note(plan_->outcome());
    std::fill(updated_.begin(), updated_.end(), false);
    updated_count_ = 0;
  }

  // Which parameters have been updated since the last step ended.
  py::list updated() const {
    py::list positions;
    for (std::size_t i = 0; i < updated_.size(); ++i)
      if (updated_[i]) positions.append(i);
    return positions;
  }

  // Of the last step: the norm or None, what gradients were multiplied by for its sake, whether the step was made, and
  // the positions of the parameters whose gradients had elements that are not finite.
  py::object outcome() const {
    if (!outcome_) return py::none();
    return py::make_tuple(outcome_->norm, outcome_->clip, outcome_->applied, outcome_->nonfinite);
  }

  template <class Visit>
  void visit(Visit&& each) const {
    for (const Parameter& parameter : parameters_.all) parameter.visit(each);
    for (const HyperReader& reader : readers_) reader.visit(each);
    for (const py::object* held : {&transform_, &reduce_, &made_, &skipped_, &averaged_}) each(*held);
  }

 private:
  struct Held {
    Parameters& parameters;
    ~Held() { parameters.release_gradients(); }
  };

  // While there is one, nobody else may do anything to the plan: it runs code of users, and other threads.
  class Alone {
   public:
    explicit Alone(PyPlan& plan) : plan_(plan) {
      if (plan.is_busy_) throw std::runtime_error(plan.owner_ + ": a step is under way");
      plan.is_busy_ = true;
    }
    Alone(const Alone&) = delete;
    ~Alone() { plan_.is_busy_ = false; }

   private:
    PyPlan& plan_;
  };

  void make_step(const py::sequence& gradients, const Plan::Extras& extras) {
    if (!is_ready_) make_ready();
    if (updated_count_ > 0)
      throw std::runtime_error(owner_ + ".step: in the middle of a step that is made parameter by parameter. Call " +
                               "end_step() first.");
    const py::tuple items(gradients);  // a list could change while a gradient is being converted
    const std::size_t given = items.size();
    if (given != parameters_.all.size())
      throw py::value_error(owner_ + ".step: got " + std::to_string(given) + " gradients for " +
                            std::to_string(parameters_.all.size()) +
                            " parameters; give one for each, None where there is none this time");
    const Held held{parameters_};
    const bool alone = runs_alone();
    for (std::size_t i = 0; i < given; ++i)
      parameters_.hold_gradient(i, PyTuple_GET_ITEM(items.ptr(), py::ssize_t(i)), extras.zero, alone);
    take_gradients(0, given, extras.zero);
    const std::vector<py::object> apart = extras.zero ? parameters_.check_can_be_zeroed() : std::vector<py::object>();
    for (const std::size_t i : parameters_.frozen) leave_out(i);
    check_norm(extras);
    without_lock(plan_->prepare(extras), [&] { plan_->run(); });
    note(plan_->outcome());
    for (const py::object& array : apart) array.attr("fill")(0);
  }

  void make_step_of_one(std::size_t i, py::handle gradient, const Plan::Extras& extras) {
    if (!is_ready_) make_ready();
    Plan::Tensor& tensor = plan_->tensors.at(i);
    const std::string& label = parameters_.all[i].array.label();
    if (updated_[i])
      throw std::runtime_error(owner_ + ".step_param: " + label + " has been updated since the last end_step(). Call " +
                               "end_step() when all have been.");
    if (rule_schemas()[tensor.rule].sums_over_group)
      throw py::value_error(owner_ + ".step_param: the step of " + label + " depends on sums over all of its group. " +
                            "Call step(grads).");
    const Held held{parameters_};
    parameters_.hold_gradient(i, gradient, extras.zero, runs_alone());
    take_gradients(i, i + 1, extras.zero);
    if (!parameters_.all[i].gradient) return;
    const std::vector<py::object> apart = extras.zero ? parameters_.check_can_be_zeroed() : std::vector<py::object>();
    if (!parameters_.is_frozen(i)) {
      without_lock(plan_->prepare_one(i, extras), [&] { plan_->run(); });
      updated_[i] = true;
      updated_count_ += 1;
    }
    for (const py::object& array : apart) array.attr("fill")(0);
  }

  // Whether a step runs from its checks to its end with the interpreter lock and without Python.
  bool runs_alone() const {
    return !plan_->transform && !plan_->reduce && keeps_lock(plan_->averaging.steps ? 2 * size_ : size_);
  }

  // Those of the parameters [first, last), all from the beginning where a second look may have run code of users.
  void take_gradients(std::size_t first, std::size_t last, bool zero) {
    for (std::size_t i = first; i < last; ++i) {
      Plan::Tensor& tensor = plan_->tensors[i];
      if (parameters_.take_gradient(i, tensor, plan_->groups[tensor.group])) {
        if (plan_->averaging.steps) parameters_.check_average(i);
      } else {
        parameters_.look_twice(zero);
        return take_gradients(first, last, zero);
      }
    }
  }

  // Lets a step go on as if a parameter, whose gradient has been checked, had none.
  void leave_out(std::size_t i) {
    parameters_.all[i].gradient = py::object();
    plan_->tensors[i].rows.reset();
    plan_->tensors[i].arrays.gradient = nullptr;
  }

  // A norm needs gradients.
  void check_norm(const Plan::Extras& extras) const {
    if (!extras.finds_norm || extras.total_norm) return;
    const auto has_gradient = [](const Parameter& parameter) { return bool(parameter.gradient); };
    if (std::none_of(parameters_.all.begin(), parameters_.all.end(), has_gradient))
      throw py::value_error(owner_ +
                            ".step: max_norm needs a gradient, and no parameter has one. Leave max_norm out, " +
                            "or give gradients.");
  }

  // Advances the counts of steps.
  void note(const Plan::Outcome& outcome) {
    if (outcome.applied) {
      *made_number_ += 1;
      *skipped_number_ = 0;
    } else {
      *skipped_number_ += 1;
    }
    outcome_ = outcome;
  }

  template <class Value>
  Value found(const std::map<std::string, Value>& given, const std::string& name, const RuleSchema& rule) const {
    const auto item = given.find(name);
    if (item == given.end())
      throw py::value_error(owner_ + ": its rule '" + rule.name + "' keeps '" + name + "', which it was not given");
    return item->second;
  }

  // The position of a rule for parameters of a group. Its hyper-parameters must be those that the group was set for.
  int rule_for(int group, const std::string& name) const {
    const Binding* const binding = readers_[group].binding();
    const auto& rules = rule_schemas();
    const int rule = rule_called(name);
    if (!binding || rules[rule].hyper != rules[binding->rule()].hyper)
      throw py::value_error(owner_ + ": its group was not set for the hyper-parameters of '" + name + "'");
    return rule;
  }

  // Takes over the hyper-parameters that have changed.
  bool read(py::handle param_groups) {
    const auto groups = py::reinterpret_steal<py::object>(PySequence_Fast(param_groups.ptr(), "expected a sequence"));
    if (!groups) throw py::error_already_set();
    const auto count = [&groups] { return std::size_t(PySequence_Fast_GET_SIZE(groups.ptr())); };
    for (std::size_t group = 0; group < readers_.size(); ++group) {
      if (count() != readers_.size()) return false;  // asked for each time: reading a number may run code of users
      const auto hyper = py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(groups.ptr(), py::ssize_t(group)));
      if (!readers_[group].read(hyper.ptr(), plan_->groups[group])) return false;
    }
    return true;
  }

  void make_ready() {
    for (std::size_t i = 0; i < parameters_.all.size(); ++i) {
      const Plan::Tensor& tensor = plan_->tensors[i];
      if (tensor.rule < 0) throw py::value_error(parameters_.all[i].array.label() + " was given no rule");
      rule_for(tensor.group, rule_schemas()[tensor.rule].name);
    }
    parameters_.find_written();
    is_ready_ = true;
  }

  std::string owner_;
  Parameters parameters_;
  std::int64_t size_ = 0;             // of all of them, in elements
  std::vector<HyperReader> readers_;  // of each group
  bool is_ready_ = false;             // whether every parameter has its rule, and what steps write to is known
  bool is_busy_ = false;
  py::object transform_, reduce_;
  py::object made_, skipped_, averaged_;
  std::int64_t* made_number_;     // in it
  std::int64_t* skipped_number_;  // in it
  std::vector<bool> updated_;     // one by one, since the last step ended
  int updated_count_ = 0;
  std::optional<Plan::Outcome> outcome_;
  std::unique_ptr<Plan> plan_;
};

// What Python's StepOptions say, in their order; nothing: a plain step.
Plan::Extras extras_of(const py::tuple& options) {
  Plan::Extras extras;
  if (options.empty()) return extras;
  if (options.size() != 8) throw py::type_error("a step has eight options");
  extras.unscale = 1 / options[0].cast<double>();
  extras.finds_norm = options[1].cast<bool>();
  extras.max_norm = options[2].cast<double>();
  extras.norm_type = options[3].cast<double>();
  extras.total_norm = options[4].cast<std::optional<double>>();
  extras.max_value = options[5].cast<double>();
  extras.skips_nonfinite = options[6].cast<bool>();
  extras.zero = options[7].cast<bool>();
  return extras;
}

py::dict rules() {
  py::dict result;
  for (const RuleSchema& rule : rule_schemas()) {
    py::dict states;
    for (const State& state : rule.states) states[state.name] = name_of(state.kind);
    py::list decays;
    if (rule.decays.coupled) decays.append("coupled");
    if (rule.decays.decoupled) decays.append("decoupled");
    py::dict schema;
    schema["hyper"] = py::tuple(py::cast(rule.hyper));
    schema["states"] = states;
    schema["carried"] = py::tuple(py::cast(rule.carried));
    schema["decays"] = py::tuple(decays);
    schema["is_sparse"] = rule.is_sparse;
    schema["sums_over_group"] = rule.sums_over_group;
    result[rule.name] = schema;
  }
  return result;
}

}  // namespace

void register_plan(py::module_& module) {
  module.def("rules", &rules,
             "What every update rule declares: its hyper-parameters, the arrays (with their kinds) and numbers that it "
             "keeps beside each parameter, and the weight decays that it takes.");

  py::class_<PyPlan>(module, "Plan", collected<PyPlan>(), "All tensors of an optimizer, updated in one call a step.")
      .def(py::init<const std::string&, const std::vector<PyPlan::Given>&, const py::object&, const py::object&>(),
           py::arg("owner"), py::arg("parameters"), py::arg("made"), py::arg("skipped"))
      .def("set_group", &PyPlan::set_group, py::arg("group"), py::arg("binding"), py::arg("checked"))
      .def("bind", &PyPlan::bind, py::arg("parameter"), py::arg("rule"), py::arg("states"), py::arg("carried"))
      .def("set_transform", &PyPlan::set_transform, py::arg("transform"))
      .def("set_reduce", &PyPlan::set_reduce, py::arg("reduce"))
      .def("set_averages", &PyPlan::set_averages, py::arg("averages"), py::arg("decay"), py::arg("warms_up"),
           py::arg("every"), py::arg("steps"))
      .def("set_frozen", &PyPlan::set_frozen, py::arg("positions"))
      .def("step", &PyPlan::step, py::arg("gradients"), py::arg("param_groups"))
      .def(
          "step_with",
          [](PyPlan& plan, const py::sequence& gradients, py::handle param_groups, const py::tuple& options) {
            return plan.step_with(gradients, param_groups, extras_of(options));
          },
          py::arg("gradients"), py::arg("param_groups"), py::arg("options"))
      .def(
          "step_as_set",
          [](PyPlan& plan, const py::sequence& gradients, const py::tuple& options) {
            plan.step_as_set(gradients, extras_of(options));
          },
          py::arg("gradients"), py::arg("options") = py::tuple())
      .def(
          "step_one",
          [](PyPlan& plan, std::size_t parameter, py::handle gradient, py::handle param_groups,
             const py::tuple& options) { return plan.step_one(parameter, gradient, param_groups, extras_of(options)); },
          py::arg("parameter"), py::arg("gradient"), py::arg("param_groups"), py::arg("options"))
      .def(
          "step_one_as_set",
          [](PyPlan& plan, std::size_t parameter, py::handle gradient, const py::tuple& options) {
            plan.step_one_as_set(parameter, gradient, extras_of(options));
          },
          py::arg("parameter"), py::arg("gradient"), py::arg("options"))
      .def("end_step", &PyPlan::end_step)
      .def_property_readonly("updated", &PyPlan::updated)
      .def_property_readonly("outcome", &PyPlan::outcome);
}

}  // namespace ravine::bindings
