#include "plan/plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <utility>

#include "plan/blocks.hpp"
#include "plan/measures.hpp"
#include "plan/memory.hpp"
#include "plan/norm.hpp"
#include "plan/sweep.hpp"
#include "rules/registry.hpp"

namespace ravine {
namespace {

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

// The weight decay as the loop takes it.
double decay_coefficient(const Plan::Group& group, const RuleSchema& rule) {
  switch (group.decay) {
    case Decay::coupled: return group.weight_decay;
    case Decay::decoupled: return group.hyper[rule.lr] * group.weight_decay;  // 1 minus it would round worse
    case Decay::none: break;
  }
  return 0;
}

void add(SumPair& to, const SumPair& more) {
  to.first += more.first;
  to.second += more.second;
}

}  // namespace

Plan::Plan(std::vector<Tensor> all, int group_count) : tensors(std::move(all)), groups(group_count) {
  shared_.reserve(tensors.size());
  own_.reserve(tensors.size());
  jobs_.reserve(tensors.size());
  group_sums_.resize(group_count);
  others_.reserve(tensors.size());
  outcome_.nonfinite.reserve(tensors.size());
  std::int64_t sums = 0;
  for (Tensor& tensor : tensors) {
    tensor.first_sum = sums;
    sums += divide_up(tensor.size, elements_per_sum);
  }
  block_sums_.resize(sums);
}

void Plan::bind(std::size_t i, int rule, std::int64_t rows, std::int64_t columns) {
  Tensor& tensor = tensors[i];
  const RuleSchema& schema = rule_schemas()[rule];
  tensor.rule = rule;
  tensor.block = schema.is_factored ? factored_block(tensor.size, rows, columns)
                 : schema.decide    ? elements_per_sum
                                    : elements_per_line;
  const std::int64_t blocks = divide_up(tensor.size, tensor.block);
  const std::int64_t matrices = schema.is_factored && tensor.size > 0 ? tensor.size / (rows * columns) : 0;
  tensor.blocks = schema.decide ? blocks : 0;
  tensor.means.resize(schema.is_factored ? blocks * columns + matrices : 0);
  tensor.arrays.factoring = {rows, columns, tensor.block, tensor.means.data() + matrices, tensor.means.data()};
  sums_are_placed_ = false;
}

// One tensor's after the other's, those without a gradient included, so that each has its place whatever comes.
void Plan::place_sums() {
  std::int64_t count = 0;
  for (const Tensor& tensor : tensors) count += tensor.blocks;
  sums_.resize(count);
  SumPair* next = sums_.data();
  for (Tensor& tensor : tensors) {
    tensor.arrays.sums = next;
    next += tensor.blocks;
  }
  sums_are_placed_ = true;
}

// Whether something follows from the norm.
bool Plan::needs_norm() const { return extras_.finds_norm || extras_.skips_nonfinite || extras_.max_norm != infinity; }

// How far averages move at the step to come; 0 where they stay.
double Plan::average_factor() const {
  if (!averaging.steps || (*averaging.steps + 1) % averaging.every != 0) return 0;
  const double updates = double(*averaging.steps / averaging.every);
  if (updates == 0) return 1;  // as torch's averages begin
  if (!averaging.decay) return 1 / (updates + 1);
  return 1 - (averaging.warms_up ? std::min(*averaging.decay, (1 + updates) / (10 + updates)) : *averaging.decay);
}

// Factors of gradients are the rules' own, in `Coefficients::gradient_scale`, unless something is to be done to their
// products.
void Plan::choose_stages() {
  const bool limits = extras_.max_value != infinity;
  has_stages_ = limits || extras_.zero || average_factor_ != 0;
  if (!has_stages_) return;
  const StageTable& table = *isa::active().stages;
  for (const Dtype dtype : {Dtype::float32, Dtype::float64}) {
    const int which = int(dtype);
    Stages stages;
    stages.gradient.item_size = stages.average.item_size = item_size(dtype);
    if (limits) {
      stages.gradient.load = table.limit[which];
      stages.gradient.factor = extras_.unscale * outcome_.clip;
      stages.gradient.limit = extras_.max_value;
    }
    stages_[which] = stages;
    if (extras_.zero) stages.gradient.store = table.set_zero[which];
    if (average_factor_ != 0) stages.average.store = table.average[which];
    stages.average.factor = average_factor_;
    last_stages_[which] = stages;
  }
}

const Stages& Plan::stages_of(const Job& job, Kernel RuleKernels::* phase) const {
  const bool is_last = phase == &RuleKernels::update || (phase == &RuleKernels::measure && !job.kernels->update);
  return (is_last ? last_stages_ : stages_)[int(job.tensor->dtype)];
}

Plan::Shared Plan::shared_of(int group, int rule, std::int64_t t, const Carried& before) const {
  const Group& g = groups[group];
  const RuleSchema& schema = rule_schemas()[rule];
  Shared shared{group, rule, t, before, before, {}};
  const bool stage_scales = extras_.max_value != infinity;
  shared.coefficients.gradient_scale = (g.maximize ? -1 : 1) * (stage_scales ? 1 : extras_.unscale);
  shared.coefficients.decay_coefficient = decay_coefficient(g, schema);
  schema.prepare(g.hyper.data(), double(t), shared.after.data(), shared.coefficients.rule);
  return shared;
}

void Plan::add_phases(const RuleKernels& kernels) {
  for (const auto phase : {&RuleKernels::moments, &RuleKernels::propose, &RuleKernels::measure, &RuleKernels::update})
    if (kernels.*phase) present_.*phase = kernels.*phase;
}

// A tensor whose average is renewed apart.
void Plan::add_other(const Tensor& tensor) {
  others_.push_back({nullptr, &tensor, total_of(others_), tensor.size, nullptr, nullptr, {}, elements_per_line});
}

threads::Share Plan::share_of_others() const {
  std::int64_t bytes = 0;
  for (const Job& job : others_) bytes += 2 * job.size * item_size(job.tensor->dtype);
  return threads::share_of(bytes);
}

std::int64_t Plan::prepare(const Extras& extras) {
  ends_step_ = true;
  return prepare(extras, 0, tensors.size());
}

std::int64_t Plan::prepare_one(std::size_t i, const Extras& extras) {
  ends_step_ = false;
  return prepare(extras, i, i + 1);
}

std::int64_t Plan::prepare_end(const std::vector<bool>& updated) {
  ends_step_ = true;
  prepare(Extras(), 0, 0);
  if (average_factor_ != 0)
    for (std::size_t i = 0; i < tensors.size(); ++i)
      if (!updated[i]) add_other(tensors[i]);
  others_share_ = share_of_others();
  return total_of(others_);
}

std::int64_t Plan::prepare(const Extras& extras, std::size_t first, std::size_t last) {
  const isa::Table& table = isa::active();
  const std::vector<RuleSchema>& rules = rule_schemas();
  extras_ = extras;
  average_factor_ = average_factor();
  if (!sums_are_placed_) place_sums();
  present_ = {};
  shared_.clear();
  own_.clear();
  jobs_.clear();
  others_.clear();
  modifies_ = false;
  std::int64_t total = 0, bytes = 0;
  const bool averages = average_factor_ != 0;
  const std::int32_t ahead = memory::update_ahead();
  for (std::size_t i = first; i < last; ++i) {
    Tensor& tensor = tensors[i];
    tensor.arrays.ahead = ahead;
    const bool has_gradient = tensor.arrays.gradient || tensor.rows;  // the values of no rows may be nowhere
    if (averages && (!has_gradient || tensor.rows)) add_other(tensor);
    if (!has_gradient) continue;
    const Group& group = groups[tensor.group];
    const std::int64_t t = *tensor.step_count + 1;
    Carried carried{};
    for (int k = 0; k < max_carried && tensor.carried[k]; ++k) carried[k] = *tensor.carried[k];
    if (shared_.empty() || shared_.back().group != tensor.group || shared_.back().rule != tensor.rule ||
        shared_.back().t != t || shared_.back().before != carried)
      shared_.push_back(shared_of(tensor.group, tensor.rule, t, carried));
    const Shared& shared = shared_.back();
    const RuleSchema& rule = rules[tensor.rule];
    Coefficients* const own = rule.decide ? &own_.emplace_back(shared.coefficients) : nullptr;
    const bool modified = group.modifies();
    const bool is_shrunk_apart = modified && group.decay == Decay::decoupled;  // by modified_stages()
    const RuleKernels& kernels =
        table.kernels_of(tensor.rule, is_shrunk_apart ? Decay::none : group.decay, tensor.dtype);
    const std::int64_t size = tensor.rows ? tensor.rows->elements() : tensor.size;
    const std::int64_t block = modified ? std::max(tensor.block, elements_per_sum) : tensor.block;
    jobs_.push_back(
        {&kernels, &tensor, total, size, own ? own : &shared.coefficients, own, shared.after, block, modified});
    if (modified && !kernels.update) throw std::logic_error("a rule that has no update to modify");
    if (group.max_grad_rms != infinity) jobs_.back().measure = measure_of(tensor);
    modifies_ |= modified;
    if (jobs_.size() == 1 || jobs_[jobs_.size() - 2].kernels != &kernels) add_phases(kernels);
    total += size;
    const int arrays = 2 + int(rule.states.size()) + averages;
    bytes += size * arrays * item_size(tensor.dtype) * (modified ? 2 : 1);
  }
  if (present_.propose && !transform) throw std::logic_error("nobody changes what the rules propose");
  share_ = threads::share_of(bytes);
  if (averages) others_share_ = share_of_others();
  return total + total_of(others_);
}

void Plan::run() {
  outcome_.norm = extras_.total_norm;
  outcome_.clip = 1;
  outcome_.applied = true;
  outcome_.nonfinite.clear();
  has_nonfinite_ = false;
  if (needs_norm()) {
    if (!outcome_.norm) find_norm();
    apply_norm();
    if (!outcome_.applied) {
      if (extras_.zero) set_zero();
      return;
    }
  }
  choose_stages();
  if (present_.moments) {
    run(&RuleKernels::moments);
    for (const Job& job : jobs_)
      if (job.kernels->settle) job.kernels->settle(*job.coefficients, job.tensor->arrays, 0, job.tensor->size);
  }
  if (present_.propose) {
    run(&RuleKernels::propose);
    transform();
  }
  if (present_.measure) {
    if (reduce) std::fill(sums_.begin(), sums_.end(), SumPair{0, 0});  // those of tensors without a gradient
    run(&RuleKernels::measure);
    if (reduce) reduce(sums_.data(), sums_.size());
    decide();
  }
  if (modifies_) try_updates();
  if (present_.update) run(&RuleKernels::update);
  if (!others_.empty()) average_the_rest();
  if (averaging.steps && ends_step_) *averaging.steps += 1;
  for (const Job& job : jobs_) {
    *job.tensor->step_count += 1;
    for (int k = 0; k < max_carried && job.tensor->carried[k]; ++k) *job.tensor->carried[k] = job.after[k];
  }
}

// Adds up the sums of the blocks, and lets the rules decide by them.
void Plan::decide() {
  const auto total_of = [&](const Tensor& tensor) {
    SumPair total{0, 0};
    for (std::int64_t block = 0; block < tensor.blocks; ++block) add(total, tensor.arrays.sums[block]);
    return total;
  };
  const std::vector<RuleSchema>& rules = rule_schemas();
  std::fill(group_sums_.begin(), group_sums_.end(), SumPair{0, 0});
  for (const Job& job : jobs_)
    if (rules[job.tensor->rule].sums_over_group) add(group_sums_[job.tensor->group], total_of(*job.tensor));
  for (Job& job : jobs_) {
    if (!job.own) continue;
    const Tensor& tensor = *job.tensor;
    const RuleSchema& rule = rules[tensor.rule];
    const SumPair sums = rule.sums_over_group ? group_sums_[tensor.group] : total_of(tensor);
    rule.decide(sums, double(tensor.size), job.after.data(), job.own->rule);
  }
}

// The parameter as the rule takes it, in room of its own; of a trial so are the states, and nothing comes back.
Stages Plan::modified_stages(const Job& job, bool tries) const {
  const StageTable& table = *isa::active().stages;
  const Tensor& tensor = *job.tensor;
  const int which = int(tensor.dtype);
  Stages stages;
  if (has_stages_) stages = (tries ? stages_ : last_stages_)[which];
  const bool shrinks = groups[tensor.group].decay == Decay::decoupled;
  stages.parameter.load = (shrinks ? table.shrink : table.copy)[which];
  stages.parameter.factor = job.coefficients->decay_coefficient;
  stages.parameter.item_size = item_size(tensor.dtype);
  if (!tries) {
    stages.parameter.store = table.copy[which];
  } else if (!rule_schemas()[tensor.rule].is_factored) {  // whose update leaves its means alone
    for (Stage& state : stages.states) {
      state.load = table.copy[which];
      state.item_size = stages.parameter.item_size;
    }
  }
  return stages;
}

// That of a piece which begins at an element.
UpdateBlock Plan::update_of(const Job& job, const Arrays& piece, std::int64_t begin) const {
  const Tensor& tensor = *job.tensor;
  const Group& group = groups[tensor.group];
  const std::int64_t offset = begin * item_size(tensor.dtype);
  return {static_cast<const std::byte*>(tensor.arrays.parameter) + offset,
          static_cast<const std::byte*>(piece.gradient) + offset,
          static_cast<std::byte*>(piece.parameter) + offset,
          job.coefficients,
          group.decay,
          group.cautious,
          job.update_factor,
          job.decay_factor,
          nullptr,
          1,
          0};
}

// The mean square that the rule will have renewed, with its bias corrected.
Plan::Measure Plan::measure_of(const Tensor& tensor) const {
  const RuleSchema& rule = rule_schemas()[tensor.rule];
  const auto number = [&](const char* name) {
    const auto place = std::find(rule.hyper.begin(), rule.hyper.end(), name) - rule.hyper.begin();
    return groups[tensor.group].hyper.at(place);
  };
  const auto state = std::find_if(rule.states.begin(), rule.states.end(),
                                  [](const State& each) { return std::string(each.name) == "exp_avg_sq"; });
  return {int(state - rule.states.begin()), 1 / (1 - std::pow(number("beta2"), double(*tensor.step_count + 1))),
          number("eps")};
}

// Finds what the updates that are modified would be, and decides by sums over each tensor what they are multiplied by.
void Plan::try_updates() {
  if (reduce) std::fill(block_sums_.begin(), block_sums_.end(), SumPair{0, 0});
  each_part(0, [&](const Job& job, std::int64_t part_begin, std::int64_t part_end) {
    if (!job.modified) return;
    const Tensor& tensor = *job.tensor;
    SumPair* const sums = block_sums_.data() + tensor.first_sum;
    const UpdateSums sum = isa::active().stages->update_sums[int(tensor.dtype)];
    run_in_blocks(job.kernels->update, *job.coefficients, tensor.arrays, tensor.dtype, modified_stages(job, true),
                  job.block, part_begin, part_end, [&](const Arrays& piece, std::int64_t begin, std::int64_t end) {
                    UpdateBlock update = update_of(job, piece, begin);
                    if (groups[tensor.group].max_grad_rms != infinity) {
                      const void* const mean_square = piece.states[job.measure.state];
                      update.mean_square = static_cast<const std::byte*>(mean_square) + begin * item_size(tensor.dtype);
                      update.correction = job.measure.correction;
                      update.eps = job.measure.eps;
                    }
                    sums[begin / job.block] = sum(update, end - begin);
                  });
  });
  if (reduce) reduce(block_sums_.data(), block_sums_.size());
  for (Job& job : jobs_) {
    if (!job.modified) continue;
    const Group& group = groups[job.tensor->group];
    const SumPair* const sums = block_sums_.data() + job.tensor->first_sum;
    SumPair total{0, 0};
    for (std::int64_t block = 0; block < divide_up(job.size, job.block); ++block) add(total, sums[block]);
    const double n = double(job.size);
    if (group.cautious) job.update_factor = n / (total.first + 1);
    const double rms = std::sqrt(total.second / n);
    if (rms > group.max_grad_rms) {
      job.decay_factor = group.max_grad_rms / rms;
      job.update_factor *= job.decay_factor;
    }
    if (group.max_update_rms == infinity) continue;
    const double most = group.hyper[rule_schemas()[job.tensor->rule].lr] * group.max_update_rms;
    if (job.update_factor * rms > most) job.update_factor = most / rms;
  }
}

void Plan::update_modified(const Job& job, std::int64_t part_begin, std::int64_t part_end) const {
  const Tensor& tensor = *job.tensor;
  const Modify modify = isa::active().stages->modify[int(tensor.dtype)];
  run_in_blocks(job.kernels->update, *job.coefficients, tensor.arrays, tensor.dtype, modified_stages(job, false),
                tensor.block, part_begin, part_end, [&](const Arrays& piece, std::int64_t begin, std::int64_t end) {
                  modify(update_of(job, piece, begin), end - begin);
                });
}

// The norm of all gradients, from the terms of blocks of each.
void Plan::find_norm() {
  std::fill(block_sums_.begin(), block_sums_.end(), SumPair{0, 0});  // those of tensors without a gradient included
  const Norm norm(extras_.norm_type);
  each_part(elements_per_sum, [&](const Job& job, std::int64_t begin, std::int64_t end) {
    norm.find_terms(job.tensor->arrays.gradient, job.tensor->dtype, extras_.unscale, begin, end,
                    block_sums_.data() + job.tensor->first_sum);
  });
  if (reduce) reduce(block_sums_.data(), block_sums_.size());
  const auto [value, nonfinite] = norm.of(block_sums_);
  outcome_.norm = value;
  has_nonfinite_ = nonfinite > 0;
  if (!has_nonfinite_) return;
  for (const Job& job : jobs_)
    if (has_nonfinite(block_sums_.data() + job.tensor->first_sum, job.size))
      outcome_.nonfinite.push_back(job.tensor - tensors.data());
}

// Decides whether the step is made, and how far gradients are clipped.
void Plan::apply_norm() {
  const double norm = *outcome_.norm;
  // A norm that is too large for a number matters only where something goes by it.
  const bool goes_by_norm = extras_.total_norm || extras_.max_norm != infinity;
  if (extras_.skips_nonfinite && (has_nonfinite_ || (goes_by_norm && !std::isfinite(norm)))) {
    outcome_.applied = false;
    return;
  }
  outcome_.clip = clip_coefficient(extras_.max_norm, norm);
  if (outcome_.clip == 1 || extras_.max_value != infinity) return;  // with max_value, a stage multiplies
  for (Shared& shared : shared_) shared.coefficients.gradient_scale *= outcome_.clip;
  for (Coefficients& own : own_) own.gradient_scale *= outcome_.clip;
}

// Of a step that is skipped.
void Plan::set_zero() const {
  each_part(elements_per_line, [&](const Job& job, std::int64_t begin, std::int64_t end) {
    const int which = int(job.tensor->dtype);
    auto* const gradient = static_cast<std::byte*>(const_cast<void*>(job.tensor->arrays.gradient));
    isa::active().stages->set_zero[which](nullptr, end - begin, {}, gradient + begin * item_size(job.tensor->dtype));
  });
}

// Renews the averages of tensors that no rule has just gone through from end to end.
void Plan::average_the_rest() {
  Stage stage;
  stage.factor = average_factor_;
  const auto& kernels = isa::active().stages->average;
  sweep(
      others_, others_share_, [](const Job& job) { return job.block; },
      [&](const Job& job, std::int64_t begin, std::int64_t end) {
        const std::int64_t offset = begin * item_size(job.tensor->dtype);
        const Arrays& arrays = job.tensor->arrays;
        kernels[int(job.tensor->dtype)](static_cast<std::byte*>(arrays.parameter) + offset, end - begin, stage,
                                        static_cast<std::byte*>(arrays.average) + offset);
      });
}

// Calls work(job, begin, end) for parts of the run of all jobs. A part begins at a multiple of `block` elements of its
// tensor, or where that is 0, of the job's own block.
template <class Work>
void Plan::each_part(std::int64_t block, const Work& work) const {
  sweep(jobs_, share_, [block](const Job& job) { return block > 0 ? block : job.block; }, work);
}

// Runs one phase over the run of all jobs.
void Plan::run(Kernel RuleKernels::* phase) const {
  each_part(0, [&](const Job& job, std::int64_t begin, std::int64_t end) {
    const Kernel kernel = job.kernels->*phase;
    if (!kernel) return;
    if (job.modified && phase == &RuleKernels::update) return update_modified(job, begin, end);
    const Tensor& tensor = *job.tensor;
    const Stages* const stages = has_stages_ ? &stages_of(job, phase) : nullptr;
    const StagedKernel staged{kernel, *job.coefficients, tensor.dtype, stages};
    if (tensor.rows)
      update_rows(staged, tensor.arrays, *tensor.rows, begin, end);
    else
      staged(tensor.arrays, job.block, begin, end);
  });
}

}  // namespace ravine
