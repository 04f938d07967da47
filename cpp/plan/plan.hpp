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
  };

  struct Group {
    int rule = -1;
    Decay decay = Decay::none;
    bool maximize = false;
    Hyper hyper;
  };

  std::vector<Tensor> tensors;
  std::vector<Group> groups;

  // `steps` counts the steps of each tensor; the caller keeps it alive.
  Plan(std::vector<Tensor> tensors, int groups, std::int64_t* steps);

  // Gathers the tensors that have a gradient and the coefficients of their next step. Returns their number of elements.
  std::int64_t prepare();

  // Updates what prepare() gathered, then advances the step counts and the scalars.
  void run();

 private:
  using Scalars = std::array<double, max_scalars>;

  // What tensors of one group have in common that were at the same step with the same scalars.
  struct Step {
    int group;
    std::int64_t t;
    Scalars before, after;
    Coefficients coefficients;
  };

  struct Job {
    Kernel kernel;
    const Step* step;
    const Tensor* tensor;
    std::int64_t* steps;
    std::int64_t size;  // how many elements are updated
  };

  Step step_of(int group, std::int64_t t, const Scalars& before) const;

  void update(std::int64_t begin, std::int64_t end) const;

  std::int64_t* steps_;
  // Their room is reserved once: a step allocates nothing.
  std::vector<Step> shared_;
  std::vector<Job> jobs_;
  std::vector<std::int64_t> starts_;  // of each job in the run of all elements
  std::int64_t total_ = 0;
  threads::Share share_{1, false};
};

}  // namespace ravine
