// Batch normalisation (Ioffe & Szegedy 2015), forward and backward, a block at a time. plan/batch_norm.cpp says in
// which order, docs/batch-norm.md derives the backward pass.
#pragma once

#include <type_traits>
#include <utility>

#include "layers/stream.hpp"
#include "loop/lanes.hpp"
#include "rules/arithmetic.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

// A coefficient that all elements of a run share. Where each has its own, it is a pointer.
template <class V>
struct Same {
  V value;
  V operator[](std::int64_t) const { return value; }
};

// Neighbouring elements of a block with their coefficients, each a Same<V> or a pointer.
template <class V, class Of, class DoubleOf>
struct Run {
  std::int64_t n;
  const V *x, *z, *dy;
  V *result, *dz;
  std::uint16_t* mask;
  DoubleOf about;
  Of center, scale, shift, slope, offset;
  std::int64_t next;  // from the beginning of this run to that of the one that follows
  bool prefetching, streaming;

  // What is fetched for the elements [begin, end); the run that is read after them begins at `following`.
  template <BatchNormPass pass>
  Ahead<V> ahead(std::int64_t begin, std::int64_t end, std::int64_t following) const {
    if (!prefetching) return {};
    const bool reads_x = pass != BatchNormPass::backward_evaluation;
    const bool reads_z = pass == BatchNormPass::forward;
    return {{reads_x ? x + begin : nullptr, reads_z ? at(z, begin) : nullptr, at(dy, begin)},
            end - begin,
            following - begin};
  }

  V normalized(std::int64_t i) const { return (x[i] - center[i]) * scale[i] + shift[i]; }

  // dy, or 0 where the forward pass made 0 of what was not above it.
  template <Fused fused>
  V gated(std::int64_t i, int j) const {
    const V g = dy[i + j];
    if constexpr (fused == Fused::relu) return normalized(i + j) <= 0 ? V(0) : g;
    if constexpr (fused == Fused::add_relu) return kept(mask, i, j) ? g : V(0);
    return g;
  }

  // The terms of the sums over element i + j.
  template <BatchNormPass pass, Fused fused>
  SumPair terms(std::int64_t i, int j) const {
    const double deviation = double(x[i + j]) - about[i + j];
    if constexpr (pass == BatchNormPass::moments) return {deviation, deviation * deviation};
    const double g = double(gated<fused>(i, j));
    return {g, g * deviation};
  }

  template <Fused fused>
  void forward() const {
    const auto compute = [run = *this](std::int64_t begin, std::int64_t end, V* y) {
      const auto sum = [run, begin](std::int64_t i) {
        const V normal = run.normalized(begin + i);
        if constexpr (adds(fused)) return normal + run.z[begin + i];
        return normal;
      };
      if constexpr (fused == Fused::add_relu) {
        for_lanes_keeping(
            end - begin, run.mask + begin / lanes,
            [=](std::int64_t i, int j) {
              const V value = sum(i + j);
              y[i + j] = max_(V(0), value);
              return !(value <= 0);
            },
            run.template ahead<BatchNormPass::forward>(begin, run.n, run.next));
      } else {
        for_lanes(
            end - begin,
            [=](std::int64_t i, int j) { y[i + j] = fused == Fused::relu ? max_(V(0), sum(i + j)) : sum(i + j); },
            run.template ahead<BatchNormPass::forward>(begin, run.n, run.next));
      }
    };
    write<V>(n, streaming, compute, result);
  }

  template <BatchNormPass pass, Fused fused>
  void backward() const {
    const auto compute = [run = *this](std::int64_t begin, std::int64_t end, V* dx, auto... dz_if_added) {
      for_lanes(
          end - begin,
          [=](std::int64_t i, int j) {
            const std::int64_t k = begin + i + j;
            V g = run.template gated<fused>(begin + i, j);
            ((dz_if_added[i + j] = g), ...);
            if constexpr (pass == BatchNormPass::backward)
              g = (g + run.offset[k]) + run.slope[k] * (run.x[k] - run.center[k]);
            dx[i + j] = g * run.scale[k];
          },
          run.template ahead<pass>(begin, run.n, run.next));
    };
    if constexpr (adds(fused))
      write<V>(n, streaming, compute, result, dz);
    else
      write<V>(n, streaming, compute, result);
  }
};

template <class V>
Run<V, const V*, const double*> columns_of(const BatchNormBlock& b, std::int64_t row, std::int64_t rows_at_once = 1) {
  const auto values = [](const void* array) { return static_cast<const V*>(array); };
  const std::int64_t i = row * b.stride;
  return {b.channels * b.length,
          at(values(b.x), i),
          at(values(b.z), i),
          at(values(b.dy), i),
          at(static_cast<V*>(b.result), i),
          at(static_cast<V*>(b.dz), i),
          at(b.mask, row * b.mask_stride),
          b.about,
          values(b.center),
          values(b.scale),
          values(b.shift),
          values(b.slope),
          values(b.offset),
          rows_at_once * b.stride,
          b.prefetching,
          b.streaming};
}

template <class V>
Run<V, Same<V>, Same<double>> plane_of(const BatchNormBlock& b, std::int64_t row, std::int64_t channel) {
  const Run<V, const V*, const double*> r = columns_of<V>(b, row);
  const std::int64_t i = channel * b.length;
  const auto same = [channel](const auto* array) {
    using Value = std::remove_cv_t<std::remove_reference_t<decltype(*array)>>;
    return Same<Value>{array ? array[channel] : Value(0)};
  };
  return {b.length,
          at(r.x, i),
          at(r.z, i),
          at(r.dy, i),
          at(r.result, i),
          at(r.dz, i),
          at(r.mask, channel * b.mask_plane_stride),
          same(r.about),
          same(r.center),
          same(r.scale),
          same(r.shift),
          same(r.slope),
          same(r.offset),
          channel + 1 < b.channels ? b.length : b.stride - i,
          b.prefetching,
          b.streaming};
}

// Adds the terms of a block to the sums of its columns, row after row.
template <class V, BatchNormPass pass, Fused fused>
void add_columns(const BatchNormBlock& block) {
  // Sums are loaded and stored once for so many rows; strips so wide that they stay in the innermost cache.
  constexpr std::int64_t rows_at_once = 4;
  constexpr std::int64_t strip = 1024;
  const std::int64_t width = block.channels * block.length;
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
            (add_one(runs.template terms<pass, fused>(left + i, j)), ...);
            first[i + j] = sums.first;
            second[i + j] = sums.second;
          },
          runs.template ahead<pass>(left, left + n, left + runs.next)...);
    };
    std::int64_t row = 0;
    for (; row + rows_at_once <= block.rows; row += rows_at_once)
      add(columns_of<V>(block, row, rows_at_once), columns_of<V>(block, row + 1, rows_at_once),
          columns_of<V>(block, row + 2, rows_at_once), columns_of<V>(block, row + 3, rows_at_once));
    for (; row < block.rows; ++row) add(columns_of<V>(block, row));
  }
}

template <class V, BatchNormPass pass, Scheme scheme, Fused fused>
void batch_norm(const BatchNormBlock& block) {
  constexpr bool sums = pass == BatchNormPass::moments || pass == BatchNormPass::backward_sums;
  const auto elementwise = [](const auto& run) {
    if constexpr (pass == BatchNormPass::forward)
      run.template forward<fused>();
    else
      run.template backward<pass, fused>();
  };
  if constexpr (scheme == Scheme::planes && sums) {
    LaneSums of_channel[max_planes];
    for (std::int64_t row = 0; row < block.rows; ++row)
      for (std::int64_t channel = 0; channel < block.channels; ++channel) {
        const auto run = plane_of<V>(block, row, channel);
        of_channel[channel].add(
            run.n, [run](std::int64_t i, int j) { return run.template terms<pass, fused>(i, j); },
            run.template ahead<pass>(0, run.n, run.next));
      }
    for (std::int64_t channel = 0; channel < block.channels; ++channel) {
      const SumPair total = of_channel[channel].total();
      block.first[channel] = total.first;
      block.second[channel] = total.second;
    }
  } else if constexpr (scheme == Scheme::planes) {
    for (std::int64_t row = 0; row < block.rows; ++row)
      for (std::int64_t channel = 0; channel < block.channels; ++channel) elementwise(plane_of<V>(block, row, channel));
  } else if constexpr (sums) {
    add_columns<V, pass, fused>(block);
  } else {
    for (std::int64_t row = 0; row < block.rows; ++row) elementwise(columns_of<V>(block, row));
  }
  if (!sums && block.streaming) finish_streaming();
}

// Adds up the columns of each channel: `length` neighbours, sixteen lanes each.
inline void fold(const double* first, const double* second, std::int64_t channels, std::int64_t length,
                 double* first_total, double* second_total) {
  if (length == 1) {
#pragma omp simd
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      first_total[channel] += first[channel];
      second_total[channel] += second[channel];
    }
    return;
  }
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    LaneSums sums;
    const double* a = first + channel * length;
    const double* b = second + channel * length;
    sums.add(length, [=](std::int64_t i, int j) { return SumPair{a[i + j], b[i + j]}; });
    const SumPair total = sums.total();
    first_total[channel] += total.first;
    second_total[channel] += total.second;
  }
}

// What is fused, as far as a pass has to know of it.
constexpr Fused relevant(BatchNormPass pass, Fused fused) {
  if (pass == BatchNormPass::moments) return Fused::plain;
  if (pass == BatchNormPass::backward_sums && fused == Fused::add) return Fused::plain;
  return fused;
}

template <int pass, int scheme, int... fused>
constexpr void fill(BatchNormKernels& kernels, std::integer_sequence<int, fused...>) {
  constexpr auto p = BatchNormPass(pass);
  constexpr auto s = Scheme(scheme);
  ((kernels.passes[pass][scheme][fused][int(Dtype::float32)] = batch_norm<float, p, s, relevant(p, Fused(fused))>,
    kernels.passes[pass][scheme][fused][int(Dtype::float64)] = batch_norm<double, p, s, relevant(p, Fused(fused))>),
   ...);
}

template <int... pass>
constexpr BatchNormKernels batch_norm_kernels(std::integer_sequence<int, pass...>) {
  BatchNormKernels kernels{};
  (fill<pass, int(Scheme::planes)>(kernels, std::make_integer_sequence<int, fused_count>()), ...);
  (fill<pass, int(Scheme::columns)>(kernels, std::make_integer_sequence<int, fused_count>()), ...);
  kernels.fold = fold;
  return kernels;
}

}  // namespace
}  // namespace ravine
