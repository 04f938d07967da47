// All tensors of an optimizer as one piece of work. Knows nothing of Python.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "isa/select.hpp"
#include "plan/sparse.hpp"
#include "threads/threads.hpp"

namespace ravine {

// A step is a list of phases, each over all tensors before the next begins:
//   norm? -> <reduce> -> moments -> settle -> propose -> <transform> -> measure -> <reduce> -> decide -> update
// A rule has some of them. At the seams in brackets others may take part: see `reduce` and `transform`.
class Plan {
 public:
  using Hyper = std::array<double, max_hyper>;  // in the rule's order
  using Carried = std::array<double, max_carried>;

  struct Tensor {
    Arrays arrays{};                             // a null gradient, without rows, leaves the tensor alone
    std::array<double*, max_carried> carried{};  // in the rule's order; null where it has no more
    std::int64_t* step_count = nullptr;          // how many there have been
    std::optional<Rows> rows;                    // which the gradient has values for, where these are not all
    std::int64_t size = 0;
    Dtype dtype = Dtype::float32;
    int group = 0;
    int rule = -1;
    std::int64_t block = 1;     // threads share the tensor out in multiples of this; in elements
    std::int64_t blocks = 0;    // whose sums the rule takes
    std::int64_t square = 0;    // where the sums of its gradient's squares begin, among those of all tensors
    std::vector<double> means;  // room for the sums and means along a factored tensor's rows and columns
  };

  struct Group {
    Decay decay = Decay::none;  // of a weight decay other than 0
    double weight_decay = 0;
    bool maximize = false;
    Hyper hyper{};
  };

  // What is done to gradients beside the rule, in the same pass over memory.
  struct Extras {
    double unscale = 1;  // a factor of every gradient
    bool norm = false;   // find the norm of all gradients, unscaled
    bool zero = false;   // set gradients to zero after use
  };

  struct Norm {
    double squares = 0;          // summed up
    std::int64_t nonfinite = 0;  // how many elements are not finite
  };

  std::vector<Tensor> tensors;
  std::vector<Group> groups;

  // Where sums of other processes come in: called with the sums of all blocks of all tensors, in a fixed order, before
  // anything is decided by them. Nothing by default.
  std::function<void(SumPair* sums, std::size_t count)> reduce;

  // Changes what rules have proposed. Where a rule does, it must be there.
  std::function<void()> transform;

  // Whoever gives tensors keeps their step counts alive.
  Plan(std::vector<Tensor> tensors, int groups);

  // Gives a tensor its rule. A factored rule takes the tensor for matrices of so many rows and columns, one after the
  // other in memory.
  void bind(std::size_t tensor, int rule, std::int64_t rows, std::int64_t columns);

  // Gathers the tensors that have a gradient and the coefficients of their next step. Returns their number of elements.
  std::int64_t prepare(const Extras& extras);

  // Updates what prepare() gathered, then advances the step counts and the carried numbers.
  void run();

  // Of the last step that was to find it.
  const Norm& norm() const { return norm_; }

 private:
  // What tensors of one group and rule have in common that were at the same step with the same carried numbers.
  struct Shared {
    int group, rule;
    std::int64_t t;
    Carried before, after;
    Coefficients coefficients;
  };

  // A tensor that has a gradient.
  struct Job {
    const RuleKernels* kernels;
    const Tensor* tensor;
    std::int64_t start, size;          // of its elements in the run of all that are updated
    const Coefficients* coefficients;  // shared, or its own
    Coefficients* own;                 // where sums decide about them
    Carried after;
  };

  Shared shared_of(int group, int rule, std::int64_t t, const Carried& before) const;
  void place_sums();
  void choose_stages();
  void add_phases(const RuleKernels& kernels);
  const Stages& stages_of(const Job& job, Kernel RuleKernels::* phase) const;

  void run(Kernel RuleKernels::* phase) const;
  template <class Work>
  void each_part(std::int64_t block, const Work& work) const;
  void find_norm();
  void decide();

  // Their room is reserved once: a step allocates nothing.
  std::vector<Shared> shared_;
  std::vector<Job> jobs_;
  std::vector<Coefficients> own_;
  std::vector<SumPair> sums_;  // of all blocks of all tensors whose rules take sums
  std::vector<SumPair> group_sums_;
  std::vector<SumPair> squares_;  // of all blocks of all gradients, for the norm
  bool sums_are_placed_ = false;
  RuleKernels present_{};  // a kernel of each phase that some job has
  std::int64_t total_ = 0;
  Extras extras_;
  bool has_stages_ = false;
  Stages stages_[dtype_count], last_stages_[dtype_count];  // the latter where a rule reads the gradient last
  Norm norm_;
  threads::Share share_{1, false};
};

}  // namespace ravine
