// All tensors of an optimizer as one piece of work. Knows nothing of Python.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "isa/select.hpp"
#include "plan/sparse.hpp"
#include "threads/threads.hpp"

namespace ravine {

// A step is a list of phases, each over all tensors before the next begins:
//   norm? -> <reduce> -> skip or clip -> moments -> settle -> propose -> <transform> -> measure -> <reduce> -> decide
//   -> trial? -> <reduce> -> update -> average?
// A rule has some of them. At the seams in brackets others may take part: see `reduce` and `transform`.
class Plan {
 public:
  using Hyper = std::array<double, max_hyper>;  // in the rule's order
  using Carried = std::array<double, max_carried>;
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  struct Tensor {
    Arrays arrays{};                             // a null gradient, without rows, leaves the tensor alone
    std::array<double*, max_carried> carried{};  // in the rule's order; null where it has no more
    std::int64_t* step_count = nullptr;          // how many there have been
    std::optional<Rows> rows;                    // which the gradient has values for, where these are not all
    std::int64_t size = 0;
    Dtype dtype = Dtype::float32;
    int group = 0;
    int rule = -1;
    std::int64_t block = 1;      // threads share the tensor out in multiples of this; in elements
    std::int64_t blocks = 0;     // whose sums the rule takes
    std::int64_t first_sum = 0;  // where the sums of its blocks begin that every rule may need, of all tensors'
    std::vector<double> means;   // room for the sums and means along a factored tensor's rows and columns
  };

  struct Group {
    Decay decay = Decay::none;  // of a weight decay other than 0
    double weight_decay = 0;
    bool maximize = false;
    Hyper hyper{};

    // What becomes of the update d of each of its tensors before it is taken.
    bool cautious = false;             // where it does not descend, d g >= 0, it is 0; the rest is scaled up for that
    double max_update_rms = infinity;  // of what is left, in units of lr
    double max_grad_rms = infinity;    // of g in units of the root of its mean square; not beside max_update_rms

    bool modifies() const { return cautious || max_update_rms != infinity || max_grad_rms != infinity; }
  };

  // What is done beside the rule in the same step.
  struct Extras {
    double unscale = 1;                // a factor of every gradient, before all else
    bool finds_norm = false;           // of all gradients, unscaled
    double norm_type = 2;              // its p, above 0
    std::optional<double> total_norm;  // what it is, where that is known already
    double max_norm = infinity;        // gradients are multiplied by min(1, max_norm / (norm + 1e-6))
    double max_value = infinity;       // of each element, after that
    bool skips_nonfinite = false;      // whether nothing is updated where the norm is not finite or an element is not
    bool zero = false;                 // set gradients to zero after use
  };

  struct Outcome {
    std::optional<double> norm;
    double clip = 1;  // what gradients were multiplied by for the sake of the norm
    bool applied = true;
    std::vector<std::size_t> nonfinite;  // the tensors that have such elements, where the norm was to be found
  };

  // Averages of the parameters, in which late ones weigh most, or all the same.
  struct Averaging {
    std::optional<double> decay;    // how much of the average stays; without it, all weigh the same
    bool warms_up = false;          // whether less does at the beginning: min(decay, (1 + n) / (10 + n))
    std::int64_t every = 1;         // how many steps there are from one update to the next
    std::int64_t* steps = nullptr;  // how many there have been; null: there are no averages
  };

  std::vector<Tensor> tensors;
  std::vector<Group> groups;
  Averaging averaging;

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

  // The same of a step that is made tensor by tensor, and of its end, given which tensors there have been.
  std::int64_t prepare_one(std::size_t tensor, const Extras& extras);
  std::int64_t prepare_end(const std::vector<bool>& updated);

  // Updates what prepare() gathered, then advances the step counts and the carried numbers; or skips all that.
  void run();

  // What came of the last run.
  const Outcome& outcome() const { return outcome_; }

 private:
  // What tensors of one group and rule have in common that were at the same step with the same carried numbers.
  struct Shared {
    int group, rule;
    std::int64_t t;
    Carried before, after;
    Coefficients coefficients;
  };

  // By what a gradient is measured: the state that is its mean square, corrected by a factor, and the least root of
  // that.
  struct Measure {
    int state;
    double correction, eps;
  };

  // A tensor that has a gradient.
  struct Job {
    const RuleKernels* kernels;
    const Tensor* tensor;
    std::int64_t start, size;          // of its elements in the run of all that are updated
    const Coefficients* coefficients;  // shared, or its own
    Coefficients* own;                 // where sums decide about them
    Carried after;
    std::int64_t block;        // threads share the tensor out in multiples of this
    bool modified = false;     // whether its update is, before it is taken
    double update_factor = 1;  // what that is multiplied by then
    double decay_factor = 1;   // and decoupled weight decay
    Measure measure{};         // of its gradient, where that decides
  };

  std::int64_t prepare(const Extras& extras, std::size_t first, std::size_t last);
  Shared shared_of(int group, int rule, std::int64_t t, const Carried& before) const;
  void place_sums();
  void add_other(const Tensor& tensor);
  threads::Share share_of_others() const;
  bool needs_norm() const;
  double average_factor() const;
  void choose_stages();
  void add_phases(const RuleKernels& kernels);
  const Stages& stages_of(const Job& job, Kernel RuleKernels::* phase) const;

  void run(Kernel RuleKernels::* phase) const;
  template <class Work>
  void each_part(std::int64_t block, const Work& work) const;
  void find_norm();
  void apply_norm();
  void set_zero() const;
  void average_the_rest();
  void decide();
  Stages modified_stages(const Job& job, bool tries) const;
  UpdateBlock update_of(const Job& job, const Arrays& piece, std::int64_t begin) const;
  Measure measure_of(const Tensor& tensor) const;
  void try_updates();
  void update_modified(const Job& job, std::int64_t begin, std::int64_t end) const;

  // Their room is reserved once: a step allocates nothing.
  std::vector<Shared> shared_;
  std::vector<Job> jobs_;
  std::vector<Job> others_;  // whose averages are renewed apart: without a gradient, or with one for some rows
  std::vector<Coefficients> own_;
  std::vector<SumPair> sums_;  // of all blocks of all tensors whose rules take sums
  std::vector<SumPair> group_sums_;
  std::vector<SumPair> block_sums_;  // of all blocks of all gradients, then of all updates that are tried
  bool sums_are_placed_ = false;
  RuleKernels present_{};  // a kernel of each phase that some job has
  Extras extras_;
  double average_factor_ = 0;  // how far averages move towards the parameters at this step
  bool ends_step_ = true;      // whether what is prepared is the last of a step
  bool has_stages_ = false;
  bool modifies_ = false;                                  // whether any job's update is modified
  Stages stages_[dtype_count], last_stages_[dtype_count];  // the latter where a rule reads the gradient last
  Outcome outcome_;
  bool has_nonfinite_ = false;  // of gradients here or elsewhere
  threads::Share share_{1, false}, others_share_{1, false};
};

}  // namespace ravine
