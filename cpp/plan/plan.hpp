// All tensors of an optimizer as one piece of work. Knows nothing of Python.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "isa/table.hpp"
#include "plan/sparse.hpp"
#include "threads/threads.hpp"

namespace ravine {

class Plan {
 public:
  struct Tensor {
    Arrays arrays{};                             // a null gradient, without rows, leaves the tensor alone
    std::array<double*, max_scalars> scalars{};  // in the rule's order; null where it has no more
    std::optional<Rows> rows;                    // which the gradient has values for, where these are not all
    std::int64_t size = 0;
    Dtype dtype = Dtype::float32;
    int group = 0;
    int rule = -1;
    std::int64_t block = 1;  // threads share the tensor out in multiples of this; in elements
    std::vector<SumPair> sums;
    std::vector<double> means;  // room for the sums and means along a factored tensor's rows and columns
  };

  struct Group {
    Decay decay = Decay::none;
    bool maximize = false;
    Hyper hyper;
  };

  std::vector<Tensor> tensors;
  std::vector<Group> groups;

  // `steps` counts the steps of each tensor; the caller keeps it alive.
  Plan(std::vector<Tensor> tensors, int groups, std::int64_t* steps);

  // Gives a tensor its rule, and the room that this needs for sums. A factored rule takes the tensor for matrices of so
  // many rows and columns, one after the other in memory.
  void bind(std::size_t tensor, int rule, std::int64_t rows, std::int64_t columns);

  // Gathers the tensors that have a gradient and the coefficients of their next step. Returns their number of elements.
  std::int64_t prepare();

  // Updates what prepare() gathered, then advances the step counts and the scalars.
  void run();

 private:
  using Scalars = std::array<double, max_scalars>;

  // What tensors of one group and rule have in common that were at the same step with the same scalars.
  struct Step {
    int group, rule;
    std::int64_t t;
    Scalars before, after;
    Coefficients coefficients;
  };

  struct Job {
    const Passes* passes;
    const Tensor* tensor;
    std::int64_t* steps;
    std::int64_t size;                 // how many elements are updated
    const Coefficients* coefficients;  // shared, or where sums decide about them, its own
    Scalars after;
  };

  Step step_of(int group, int rule, std::int64_t t, const Scalars& before) const;

  void run(Kernel Passes::* pass) const;
  void decide();

  std::int64_t* steps_;
  // Their room is reserved once: a step allocates nothing.
  std::vector<Step> shared_;
  std::vector<Job> jobs_;
  std::vector<Coefficients> own_;
  std::vector<SumPair> group_sums_;
  bool has_moments_ = false, has_sums_ = false, has_updates_ = false;
  std::vector<std::int64_t> starts_;  // of each job in the run of all elements
  std::int64_t total_ = 0;
  threads::Share share_{1, false};
};

}  // namespace ravine
