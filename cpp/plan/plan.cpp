#include "plan/plan.hpp"

#include <algorithm>
#include <utility>

#include "isa/select.hpp"
#include "plan/measures.hpp"
#include "plan/rule_table.hpp"
#include "threads/threads.hpp"

namespace ravine {
namespace {

// Threads share work out in parts of this size, or larger ones where there would be too many.
constexpr std::int64_t elements_per_part = 1 << 13;

// Parts begin at multiples of this within a tensor, so that threads rarely share a cache line.
constexpr std::int64_t elements_per_line = 16;

// Blocks of a factored tensor have about so many elements, or more where there would be too many in a matrix.
constexpr std::int64_t elements_per_factored_block = 1 << 14;
constexpr std::int64_t max_factored_blocks = 1 << 6;

std::int64_t factored_block(std::int64_t size, std::int64_t rows, std::int64_t columns) {
  if (size == 0) return 1;
  const std::int64_t matrix = rows * columns;
  if (matrix <= 2 * elements_per_factored_block)
    return std::max(elements_per_factored_block / matrix, std::int64_t(1)) * matrix;
  std::int64_t count =
      std::max(divide_up(elements_per_factored_block, columns), divide_up(rows, max_factored_blocks));  // of rows
  if (matrix < size)
    while (rows % count != 0) ++count;  // so that a block begins where each matrix does
  return count * columns;
}

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
  own_.reserve(tensors.size());
  jobs_.reserve(tensors.size());
  group_sums_.resize(group_count);
  starts_.reserve(tensors.size());
}

void Plan::bind(std::size_t i, int rule, std::int64_t rows, std::int64_t columns) {
  Tensor& tensor = tensors[i];
  const RuleInfo& info = rule_table()[rule];
  tensor.rule = rule;
  tensor.block = info.is_factored ? factored_block(tensor.size, rows, columns)
                 : info.decide    ? elements_per_sum
                                  : elements_per_line;
  const std::int64_t blocks = divide_up(tensor.size, tensor.block);
  const std::int64_t matrices = info.is_factored && tensor.size > 0 ? tensor.size / (rows * columns) : 0;
  tensor.sums.resize(info.decide ? blocks : 0);
  tensor.means.resize(info.is_factored ? blocks * columns + matrices : 0);
  tensor.arrays.sums = tensor.sums.data();
  tensor.arrays.factoring = {rows, columns, tensor.block, tensor.means.data() + matrices, tensor.means.data()};
}

Plan::Step Plan::step_of(int group, int rule, std::int64_t t, const Scalars& before) const {
  const Group& g = groups[group];
  Step step{group, rule, t, before, before, {}};
  step.coefficients.gradient_scale = g.maximize ? -1 : 1;
  step.coefficients.decay = decay_coefficient(g.decay, g.hyper);
  rule_table()[rule].prepare(g.hyper, double(t), step.after.data(), step.coefficients.rule);
  return step;
}

std::int64_t Plan::prepare() {
  const Table& table = isa::active();
  const std::vector<RuleInfo>& rules = rule_table();
  has_moments_ = has_sums_ = has_updates_ = false;
  shared_.clear();
  own_.clear();
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
    if (shared_.empty() || shared_.back().group != tensor.group || shared_.back().rule != tensor.rule ||
        shared_.back().t != t || shared_.back().before != scalars)
      shared_.push_back(step_of(tensor.group, tensor.rule, t, scalars));
    const Step& step = shared_.back();
    const RuleInfo& rule = rules[tensor.rule];
    if (rule.decide) own_.push_back(step.coefficients);
    const Passes& passes = table.passes_of(tensor.rule, group.decay, tensor.dtype);
    const std::int64_t size = tensor.rows ? tensor.rows->elements() : tensor.size;
    const Coefficients& coefficients = rule.decide ? own_.back() : step.coefficients;
    jobs_.push_back({&passes, &tensor, &steps_[i], size, &coefficients, step.after});
    has_moments_ |= passes.moments != nullptr;
    has_sums_ |= passes.measure != nullptr;
    has_updates_ |= passes.update != nullptr;
    starts_.push_back(total_);
    total_ += size;
    const int arrays = 2 + int(rule.states.size());
    bytes += size * arrays * item_size(tensor.dtype);
  }
  share_ = threads::share_of(bytes);
  return total_;
}

void Plan::run() {
  if (has_moments_) {
    run(&Passes::moments);
    for (const Job& job : jobs_)
      if (job.passes->settle) job.passes->settle(*job.coefficients, job.tensor->arrays, 0, job.tensor->size);
  }
  if (has_sums_) {
    run(&Passes::measure);
    decide();
  }
  if (has_updates_) run(&Passes::update);
  for (const Job& job : jobs_) {
    *job.steps += 1;
    for (int k = 0; k < max_scalars && job.tensor->scalars[k]; ++k) *job.tensor->scalars[k] = job.after[k];
  }
}

// Adds up the sums of the blocks, and lets the rules decide by them.
void Plan::decide() {
  const auto add = [](SumPair& to, const SumPair& more) {
    to.first += more.first;
    to.second += more.second;
  };
  const auto total_of = [&](const Tensor& tensor) {
    SumPair total{0, 0};
    for (const SumPair& sum : tensor.sums) add(total, sum);
    return total;
  };
  std::fill(group_sums_.begin(), group_sums_.end(), SumPair{0, 0});
  for (const Job& job : jobs_)
    if (rule_table()[job.tensor->rule].sums_over_group) add(group_sums_[job.tensor->group], total_of(*job.tensor));
  auto own = own_.begin();
  for (Job& job : jobs_) {
    const Tensor& tensor = *job.tensor;
    const RuleInfo& rule = rule_table()[tensor.rule];
    if (!rule.decide) continue;
    const SumPair sums = rule.sums_over_group ? group_sums_[tensor.group] : total_of(tensor);
    rule.decide(sums, double(tensor.size), job.after.data(), (own++)->rule);
  }
}

// Runs one pass over the run of all jobs.
void Plan::run(Kernel Passes::* pass) const {
  threads::run_in_parts(total_, elements_per_part, share_, [&](std::int64_t part_begin, std::int64_t part_end) {
    auto index = std::size_t(std::upper_bound(starts_.begin(), starts_.end(), part_begin) - starts_.begin());
    for (index -= index > 0; index < jobs_.size() && starts_[index] < part_end; ++index) {
      const Job& job = jobs_[index];
      const auto boundary = [&](std::int64_t position) {
        const std::int64_t local = position - starts_[index];
        if (local <= 0) return std::int64_t(0);
        if (local >= job.size) return job.size;
        return local / job.tensor->block * job.tensor->block;
      };
      const std::int64_t begin = boundary(part_begin), end = boundary(part_end);
      const Kernel kernel = job.passes->*pass;
      if (begin >= end || !kernel) continue;
      const Tensor& tensor = *job.tensor;
      if (tensor.rows)
        update_rows(kernel, *job.coefficients, tensor.arrays, tensor.dtype, *tensor.rows, begin, end);
      else
        kernel(*job.coefficients, tensor.arrays, begin, end);
    }
  });
}

}  // namespace ravine
