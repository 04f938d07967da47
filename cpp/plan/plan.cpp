#include "plan/plan.hpp"

#include <algorithm>
#include <utility>

#include "isa/select.hpp"
#include "plan/rule_table.hpp"
#include "threads/threads.hpp"

namespace ravine {
namespace {

// Threads share work out in parts of this size, or larger ones where there would be too many.
constexpr std::int64_t elements_per_part = 1 << 13;

// Parts begin at multiples of this within a tensor, so that threads rarely share a cache line.
constexpr std::int64_t elements_per_line = 16;

double decay_coefficient(Decay decay, const Hyper& hyper) {
  switch (decay) {
    case Decay::coupled: return hyper.weight_decay;
    case Decay::decoupled: return hyper.lr * hyper.weight_decay;  // 1 minus it would round worse
    case Decay::none: break;
  }
  return 0;
}

}  // namespace

Plan::Plan(std::vector<Tensor> all, int group_count, std::int64_t* steps)
    : tensors(std::move(all)), groups(group_count), steps_(steps) {
  shared_.reserve(tensors.size());
  jobs_.reserve(tensors.size());
  starts_.reserve(tensors.size());
}

Plan::Step Plan::step_of(int group, std::int64_t t, const Scalars& before) const {
  const Group& g = groups[group];
  Step step{group, t, before, before, {}};
  step.coefficients.gradient_scale = g.maximize ? -1 : 1;
  step.coefficients.decay = decay_coefficient(g.decay, g.hyper);
  rule_table()[g.rule].prepare(g.hyper, double(t), step.after.data(), step.coefficients.rule);
  return step;
}

std::int64_t Plan::prepare() {
  const Table& table = isa::active();
  shared_.clear();
  jobs_.clear();
  starts_.clear();
  total_ = 0;
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    if (!tensor.arrays.gradient && !tensor.rows) continue;  // the values of no rows may be nowhere
    const Group& group = groups[tensor.group];
    const std::int64_t t = steps_[i] + 1;
    Scalars scalars{};
    for (int k = 0; k < max_scalars && tensor.scalars[k]; ++k) scalars[k] = *tensor.scalars[k];
    if (shared_.empty() || shared_.back().group != tensor.group || shared_.back().t != t ||
        shared_.back().before != scalars)
      shared_.push_back(step_of(tensor.group, t, scalars));
    const std::int64_t size = tensor.rows ? tensor.rows->elements() : tensor.size;
    jobs_.push_back({table.kernel(group.rule, group.decay, tensor.dtype), &shared_.back(), &tensor, &steps_[i], size});
    starts_.push_back(total_);
    total_ += size;
    const int arrays = 2 + int(rule_table()[group.rule].states.size());
    bytes += size * arrays * item_size(tensor.dtype);
  }
  share_ = threads::share_of(bytes);
  return total_;
}

void Plan::run() {
  threads::run_in_parts(total_, elements_per_part, share_,
                        [&](std::int64_t begin, std::int64_t end) { update(begin, end); });
  for (const Job& job : jobs_) {
    *job.steps += 1;
    for (int k = 0; k < max_scalars && job.tensor->scalars[k]; ++k) *job.tensor->scalars[k] = job.step->after[k];
  }
}

// Updates the elements [begin, end) of the run of all jobs.
void Plan::update(std::int64_t begin, std::int64_t end) const {
  auto index = std::size_t(std::upper_bound(starts_.begin(), starts_.end(), begin) - starts_.begin());
  for (index -= index > 0; index < jobs_.size() && starts_[index] < end; ++index) {
    const Job& job = jobs_[index];
    const auto boundary = [&](std::int64_t position) {
      const std::int64_t local = position - starts_[index];
      if (local <= 0) return std::int64_t(0);
      if (local >= job.size) return job.size;
      return local / elements_per_line * elements_per_line;
    };
    const Tensor& tensor = *job.tensor;
    if (tensor.rows)
      update_rows(job.kernel, job.step->coefficients, tensor.arrays, tensor.dtype, *tensor.rows, boundary(begin),
                  boundary(end));
    else
      job.kernel(job.step->coefficients, tensor.arrays, boundary(begin), boundary(end));
  }
}

}  // namespace ravine
