// The class Plan of Python: checks everything that comes, then makes one call to ravine::Plan a step.
#include "plan/plan.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
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
  // of steps of whichever parameters.
  PyPlan(const std::string& owner, const std::vector<Given>& given, const py::object& made)
      : owner_(owner), parameters_(owner), made_(made), made_number_(number_in<std::int64_t>(made, "made")) {
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
      groups = std::max(groups, group + 1);
    }
    readers_.resize(groups);
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

  // Makes a step, or returns false, no array touched, where Python has to look at a group's hyper-parameters first.
  bool step(const py::sequence& gradients, py::handle param_groups) {
    const Alone alone(*this);
    if (!read(param_groups)) return false;
    make_step(gradients, Plan::Extras());
    return true;
  }

  // Makes a step with the hyper-parameters as they were set, or read last.
  void step_as_set(const py::sequence& gradients, const Plan::Extras& extras) {
    const Alone alone(*this);
    make_step(gradients, extras);
  }

  // Of the last step that was to find it: the sum of squares of all gradients, and how many elements are not finite.
  std::pair<double, std::int64_t> norm() const { return {plan_->norm().squares, plan_->norm().nonfinite}; }

  template <class Visit>
  void visit(Visit&& each) const {
    for (const Parameter& parameter : parameters_.all) parameter.visit(each);
    for (const HyperReader& reader : readers_) reader.visit(each);
    for (const py::object* held : {&transform_, &reduce_, &made_}) each(*held);
  }

 private:
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
    const py::tuple items(gradients);  // a list could change while a gradient is being converted
    const std::size_t given = items.size();
    if (given != parameters_.all.size())
      throw py::value_error(owner_ + ".step: got " + std::to_string(given) + " gradients for " +
                            std::to_string(parameters_.all.size()) +
                            " parameters; give one for each, None where there is none this time");
    struct Held {
      Parameters& parameters;
      ~Held() { parameters.release_gradients(); }
    } const held{parameters_};
    for (std::size_t i = 0; i < given; ++i) parameters_.hold_gradient(i, PyTuple_GET_ITEM(items.ptr(), py::ssize_t(i)));
    for (std::size_t i = 0; i < given; ++i) {
      Plan::Tensor& tensor = plan_->tensors[i];
      parameters_.take_gradient(i, tensor, plan_->groups[tensor.group]);
    }
    const std::vector<py::object> copied = extras.zero ? parameters_.check_can_be_zeroed() : std::vector<py::object>();
    without_lock(plan_->prepare(extras), [&] { plan_->run(); });
    *made_number_ += 1;
    for (const py::object& array : copied) array.attr("fill")(0);
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
  std::vector<HyperReader> readers_;  // of each group
  bool is_ready_ = false;             // whether every parameter has its rule, and what steps write to is known
  bool is_busy_ = false;
  py::object transform_, reduce_;
  py::object made_;
  std::int64_t* made_number_;  // in it
  std::unique_ptr<Plan> plan_;
};

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
      .def(py::init<const std::string&, const std::vector<PyPlan::Given>&, const py::object&>(), py::arg("owner"),
           py::arg("parameters"), py::arg("made"))
      .def("set_group", &PyPlan::set_group, py::arg("group"), py::arg("binding"), py::arg("checked"))
      .def("bind", &PyPlan::bind, py::arg("parameter"), py::arg("rule"), py::arg("states"), py::arg("carried"))
      .def("set_transform", &PyPlan::set_transform, py::arg("transform"))
      .def("set_reduce", &PyPlan::set_reduce, py::arg("reduce"))
      .def("step", &PyPlan::step, py::arg("gradients"), py::arg("param_groups"))
      .def(
          "step_as_set",
          [](PyPlan& plan, const py::sequence& gradients) { plan.step_as_set(gradients, Plan::Extras()); },
          py::arg("gradients"))
      .def(
          "step_with",
          [](PyPlan& plan, const py::sequence& gradients, double unscale, bool zero, bool norm) {
            Plan::Extras extras;
            extras.unscale = unscale;
            extras.zero = zero;
            extras.norm = norm;
            plan.step_as_set(gradients, extras);
          },
          py::arg("gradients"), py::kw_only(), py::arg("unscale") = 1.0, py::arg("zero") = false,
          py::arg("norm") = false,
          "A step that also multiplies gradients by a factor before use, sets them to zero after it, or finds the norm "
          "of all of them.")
      .def_property_readonly("norm", &PyPlan::norm);
}

}  // namespace ravine::bindings
