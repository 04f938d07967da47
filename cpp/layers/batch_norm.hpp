// Batch normalisation (Ioffe & Szegedy 2015), forward and backward: its passes over the elements (normalization.hpp).
// plan/batch_norm.cpp has what is computed for each channel between them, docs/batch-norm.md derives the backward pass.
#pragma once

#include <utility>

#include "layers/normalization.hpp"
#include "rules/arithmetic.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

template <class Run>
typename Run::Value normalized(const Run& run, std::int64_t i) {
  using Of = BatchNormCoefficient;
  const auto& k = run.coefficients;
  return (run.x[i] - k[Of::center][i]) * k[Of::scale][i] + k[Of::shift][i];
}

// By what the gradient of max(y, 0) is found to be 0: the sign of y, which is computed again, or the mask.
enum class Gate { none, sign, mask };
constexpr Gate gate_of(Fused fused) {
  return fused == Fused::relu ? Gate::sign : fused == Fused::add_relu ? Gate::mask : Gate::none;
}

// dy, or 0 where the forward pass made 0 of what was not above it.
template <Gate gate, class Run>
typename Run::Value gated(const Run& run, std::int64_t i, int j) {
  using V = typename Run::Value;
  const V g = run.dy[i + j];
  if constexpr (gate == Gate::sign) return normalized(run, i + j) <= 0 ? V(0) : g;
  if constexpr (gate == Gate::mask) return kept(run.mask, i, j) ? g : V(0);
  return g;
}

struct Moments {
  static constexpr int coefficients = 0;
  static constexpr bool reads_x = true, reads_z = false;

  template <class Run>
  static SumPair terms(const Run& run, std::int64_t i, int j) {
    const double deviation = double(run.x[i + j]) - run.about[i + j];
    return {deviation, deviation * deviation};
  }
};

template <Fused fused>
struct Forward {
  static constexpr int coefficients = 3;
  static constexpr bool reads_x = true, reads_z = true;
  static constexpr bool writes_dz = false, writes_mask = fused == Fused::add_relu;

  template <class Run, class V>
  static auto element(const Run& run, std::int64_t i, int j, V& y) {
    V value = normalized(run, i + j);
    if constexpr (adds(fused)) value = value + run.z[i + j];
    y = gate_of(fused) == Gate::none ? value : max_(V(0), value);
    if constexpr (writes_mask) return !(value <= 0);
  }
};

template <Gate gate>
struct BackwardSums {
  static constexpr int coefficients = gate == Gate::sign ? 3 : 0;
  static constexpr bool reads_x = true, reads_z = false;

  template <class Run>
  static SumPair terms(const Run& run, std::int64_t i, int j) {
    const double deviation = double(run.x[i + j]) - run.about[i + j];
    const double g = double(gated<gate>(run, i, j));
    return {g, g * deviation};
  }
};

template <Fused fused, bool training>
struct Backward {
  static constexpr int coefficients = training ? 5 : gate_of(fused) == Gate::sign ? 3 : 1;
  static constexpr bool reads_x = training, reads_z = false;
  static constexpr bool writes_dz = adds(fused), writes_mask = false;

  template <class Run, class V, class... DzIfAdded>
  static void element(const Run& run, std::int64_t i, int j, V& dx, DzIfAdded&... dz) {
    using Of = BatchNormCoefficient;
    const auto& k = run.coefficients;
    V g = gated<gate_of(fused)>(run, i, j);
    ((dz = g), ...);
    if constexpr (training)
      g = (g + k[Of::offset][i + j]) + k[Of::slope][i + j] * (run.x[i + j] - k[Of::center][i + j]);
    dx = g * k[Of::scale][i + j];
  }
};

template <int... fused>
constexpr BatchNormKernels batch_norm_kernels(std::integer_sequence<int, fused...>) {
  return {reduction<Moments>(),
          {application<Forward<Fused(fused)>>()...},
          {reduction<BackwardSums<gate_of(Fused(fused))>>()...},
          {application<Backward<Fused(fused), true>>()...},
          {application<Backward<Fused(fused), false>>()...}};
}

constexpr BatchNormKernels batch_norm_kernels() {
  return batch_norm_kernels(std::make_integer_sequence<int, fused_count>());
}

}  // namespace
}  // namespace ravine
