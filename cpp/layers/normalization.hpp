// What normalising layers share: each takes sums over groups of elements, computes from them a few coefficients for
// each group, and applies these to the elements; backward likewise. plan/normalization.hpp describes the groups and
// says in which order blocks are done. A layer adds its passes, a struct each, over elements i + j of a run, where i
// counts in sixteens (loop/lanes.hpp):
//   coefficients       how many of a group's coefficients it reads
//   reads_x, reads_z   whether these arrays are worth prefetching; dy is where there is one
// A reduction has
//   terms(run, i, j)   the terms of the two sums, a SumPair
// and an application
//   element(run, i, j, result)       writes one element of the result,
//   element(run, i, j, result, dz)   or one of dz as well, where it has writes_dz,
//                                    and returns whether its bit of the mask is set, where it has writes_mask
//
// Batch norm (batch_norm.hpp) takes statistics over the outer and the inner axes of (N, C, L). Layer norm would take
// them of each sample over its trailing axes, which is (1, N, L): no outer axis, a group for each sample. Its forward
// pass has batch norm's moments and a formula with weight[i] and bias[i] of the position beside center and scale of the
// group: two arrays in Run that all groups share. dx needs sums of g and g (x - mean) over the same groups, where
// g = dy weight[i]. The gradients of weight and bias are sums over the samples, so another reduction over the same
// elements seen as (N, L, 1), whose coefficients are Broadcast over a row. RMS norm is that without a center, group
// norm has groups of (1, N G, C / G L) and weights of a channel.
#pragma once

#include "layers/kernels.hpp"
#include "layers/stream.hpp"
#include "loop/lanes.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

// A value that all elements of a run share, read like an array of one for each.
template <class V>
struct Broadcast {
  V value;
  V operator[](std::int64_t) const { return value; }
};

// Neighbouring elements of a block with their coefficients, each a Broadcast<V> or a pointer.
template <class V, class Of, class DoubleOf>
struct Run {
  using Value = V;
  std::int64_t n;
  const V *x, *z, *dy;
  V *result, *dz;
  std::uint16_t* mask;
  DoubleOf about;
  Of coefficients[max_coefficients];
  std::int64_t next;  // from the beginning of this run to that of the one that follows
  bool prefetching, streaming;

  // What is fetched for the elements [begin, end); the run that is read after them begins at `following`.
  template <class Pass>
  Ahead<V> ahead(std::int64_t begin, std::int64_t end, std::int64_t following) const {
    if (!prefetching) return {};
    return {{Pass::reads_x ? x + begin : nullptr, Pass::reads_z ? at(z, begin) : nullptr, at(dy, begin)},
            end - begin,
            following - begin};
  }
};

template <class V>
RAVINE_INLINE Run<V, const V*, const double*> columns_of(const NormalizationBlock& block, std::int64_t row,
                                                         std::int64_t rows_at_once = 1) {
  const auto values = [](const void* array) { return static_cast<const V*>(array); };
  const NormalizationArrays& arrays = block.arrays;
  const std::int64_t i = row * block.stride;
  Run<V, const V*, const double*> run;
  run.n = block.groups * block.length;
  run.x = at(values(arrays.x), i);
  run.z = at(values(arrays.z), i);
  run.dy = at(values(arrays.dy), i);
  run.result = at(static_cast<V*>(arrays.result), i);
  run.dz = at(static_cast<V*>(arrays.dz), i);
  run.mask = at(arrays.mask, row * block.mask_stride);
  run.about = block.about;
  for (int k = 0; k < max_coefficients; ++k) run.coefficients[k] = values(block.coefficients[k]);
  run.next = rows_at_once * block.stride;
  run.prefetching = block.prefetching;
  run.streaming = block.streaming;
  return run;
}

template <class V>
RAVINE_INLINE Run<V, Broadcast<V>, Broadcast<double>> plane_of(const NormalizationBlock& block, std::int64_t row,
                                                               std::int64_t group) {
  const Run<V, const V*, const double*> all = columns_of<V>(block, row);
  const std::int64_t i = group * block.length;
  Run<V, Broadcast<V>, Broadcast<double>> run;
  run.n = block.length;
  run.x = at(all.x, i);
  run.z = at(all.z, i);
  run.dy = at(all.dy, i);
  run.result = at(all.result, i);
  run.dz = at(all.dz, i);
  run.mask = at(all.mask, group * block.mask_plane_stride);
  run.about.value = all.about ? all.about[group] : 0;
  for (int k = 0; k < max_coefficients; ++k) run.coefficients[k].value = all.coefficients[k][group];
  run.next = group + 1 < block.groups ? block.length : block.stride - i;
  run.prefetching = block.prefetching;
  run.streaming = block.streaming;
  return run;
}

template <class V, class Reduction>
void reduce_planes(const NormalizationBlock& block) {
  LaneSums of_group[max_planes];
  for (std::int64_t row = 0; row < block.rows; ++row)
    for (std::int64_t group = 0; group < block.groups; ++group) {
      const auto run = plane_of<V>(block, row, group);
      of_group[group].add(
          run.n, [run](std::int64_t i, int j) { return Reduction::terms(run, i, j); },
          run.template ahead<Reduction>(0, run.n, run.next));
    }
  for (std::int64_t group = 0; group < block.groups; ++group) {
    const SumPair total = of_group[group].total();
    block.first[group] = total.first;
    block.second[group] = total.second;
  }
}

// Adds the terms of a block to the sums of its columns, row after row.
template <class V, class Reduction>
void reduce_columns(const NormalizationBlock& block) {
  // Sums are loaded and stored once for so many rows; strips so wide that they stay in the innermost cache.
  constexpr std::int64_t rows_at_once = 4;
  constexpr std::int64_t strip = 1024;
  const std::int64_t width = block.groups * block.length;
  for (std::int64_t left = 0; left < width; left += strip) {
    const std::int64_t n = width - left < strip ? width - left : strip;
    double* const first = block.first + left;
    double* const second = block.second + left;
    const auto add = [=](const auto&... runs) {
      for_lanes(
          n,
          [=](std::int64_t i, int j) {
            SumPair sums{first[i + j], second[i + j]};
            const auto add_one = [&sums](SumPair pair) {
              sums.first += pair.first;
              sums.second += pair.second;
            };
            (add_one(Reduction::terms(runs, left + i, j)), ...);
            first[i + j] = sums.first;
            second[i + j] = sums.second;
          },
          runs.template ahead<Reduction>(left, left + n, left + runs.next)...);
    };
    std::int64_t row = 0;
    for (; row + rows_at_once <= block.rows; row += rows_at_once)
      add(columns_of<V>(block, row, rows_at_once), columns_of<V>(block, row + 1, rows_at_once),
          columns_of<V>(block, row + 2, rows_at_once), columns_of<V>(block, row + 3, rows_at_once));
    for (; row < block.rows; ++row) add(columns_of<V>(block, row));
  }
}

template <class Application, class Run>
void apply(const Run& all) {
  const auto compute = [run = all](std::int64_t begin, std::int64_t end, auto*... results) {
    const auto element = [=](std::int64_t i, int j) {
      return Application::element(run, begin + i, j, results[i + j]...);
    };
    const auto ahead = run.template ahead<Application>(begin, run.n, run.next);
    if constexpr (Application::writes_mask)
      for_lanes_keeping(end - begin, run.mask + begin / lanes, element, ahead);
    else
      for_lanes(end - begin, element, ahead);
  };
  if constexpr (Application::writes_dz)
    write(all.n, all.streaming, compute, all.result, all.dz);
  else
    write(all.n, all.streaming, compute, all.result);
}

template <class V, class Application>
void apply_planes(const NormalizationBlock& block) {
  for (std::int64_t row = 0; row < block.rows; ++row)
    for (std::int64_t group = 0; group < block.groups; ++group) apply<Application>(plane_of<V>(block, row, group));
  if (block.streaming) finish_streaming();
}

template <class V, class Application>
void apply_columns(const NormalizationBlock& block) {
  for (std::int64_t row = 0; row < block.rows; ++row) apply<Application>(columns_of<V>(block, row));
  if (block.streaming) finish_streaming();
}

// How the table holds them.
template <class Reduction>
constexpr NormalizationPass reduction() {
  return {{{reduce_planes<float, Reduction>, reduce_planes<double, Reduction>},
           {reduce_columns<float, Reduction>, reduce_columns<double, Reduction>}},
          Reduction::coefficients};
}

template <class Application>
constexpr NormalizationPass application() {
  return {{{apply_planes<float, Application>, apply_planes<double, Application>},
           {apply_columns<float, Application>, apply_columns<double, Application>}},
          Application::coefficients};
}

// Sixteen lanes each, where a group has more than one column.
inline void columns_to_groups(const double* first, const double* second, std::int64_t groups, std::int64_t length,
                              double* first_total, double* second_total) {
  if (length == 1) {
#pragma omp simd
    for (std::int64_t group = 0; group < groups; ++group) {
      first_total[group] += first[group];
      second_total[group] += second[group];
    }
    return;
  }
  for (std::int64_t group = 0; group < groups; ++group) {
    LaneSums sums;
    const double* a = first + group * length;
    const double* b = second + group * length;
    sums.add(length, [=](std::int64_t i, int j) { return SumPair{a[i + j], b[i + j]}; });
    const SumPair total = sums.total();
    first_total[group] += total.first;
    second_total[group] += total.second;
  }
}

constexpr NormalizationKernels normalization_kernels() { return {columns_to_groups}; }

}  // namespace
}  // namespace ravine
