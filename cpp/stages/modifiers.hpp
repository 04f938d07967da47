// What becomes of a rule's update of a parameter before it is taken.
#pragma once

#include <cstring>

#include "loop/lanes.hpp"
#include "rules/arithmetic.hpp"
#include "stages/kernels.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

template <class V>
void copy(const void* from, std::int64_t n, const Stage& /*stage*/, void* to) {
  std::memcpy(to, from, std::size_t(n) * sizeof(V));
}

// Decoupled weight decay, as in Elements::call.
template <class V>
void shrink(const void* memory, std::int64_t n, const Stage& stage, void* block) {
  const V* const from = static_cast<const V*>(memory);
  V* const to = static_cast<V*>(block);
  const V c = V(stage.factor);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) to[i] = from[i] - c * from[i];
}

// The elements of an update d, which is what the rule has made of the parameter less what it has been given.
template <class V>
class UpdateElements {
 public:
  explicit UpdateElements(const UpdateBlock& update)
      : before_(static_cast<const V*>(update.before)),
        gradient_(static_cast<const V*>(update.gradient)),
        after_(static_cast<const V*>(update.after)),
        scale_(V(update.coefficients->gradient_scale)),
        c_(V(update.coefficients->decay_coefficient)),
        taken_c_(V(update.coefficients->decay_coefficient * update.decay_factor)),
        shrinks_(update.decay == Decay::decoupled),
        penalizes_(update.decay == Decay::coupled),
        cautious_(update.cautious) {}

  RAVINE_INLINE V update(std::int64_t i) const { return after_[i] - shrunk(i, c_); }

  // What the update is added to.
  RAVINE_INLINE V base(std::int64_t i) const { return shrunk(i, taken_c_); }

  // The gradient as the rule takes it.
  RAVINE_INLINE V gradient(std::int64_t i) const {
    const V g = scale_ * gradient_[i];
    return penalizes_ ? g + c_ * before_[i] : g;
  }

  // Whether the update descends, or need not. A product of both could become 0.
  RAVINE_INLINE bool is_kept(std::int64_t i) const { return !cautious_ | (update(i) * sign_(gradient(i)) < 0); }

 private:
  RAVINE_INLINE V shrunk(std::int64_t i, V c) const { return shrinks_ ? before_[i] - c * before_[i] : before_[i]; }

  const V* before_;
  const V* gradient_;
  const V* after_;
  V scale_, c_, taken_c_;
  bool shrinks_, penalizes_, cautious_;
};

template <class V>
SumPair update_sums(const UpdateBlock& update, std::int64_t n) {
  const UpdateElements<V> elements(update);
  const V* const v = static_cast<const V*>(update.mean_square);
  LaneSums sums;
  if (v) {
    const V correction = V(update.correction), least = V(update.eps * update.eps);
    sums.add(n, [&](std::int64_t i, int j) {
      const V g = elements.gradient(i + j);
      const V measured = g * g / max_(correction * v[i + j], least);
      return SumPair{elements.is_kept(i + j) ? 1. : 0., g == 0 ? 0. : double(measured)};
    });
  } else {
    sums.add(n, [&](std::int64_t i, int j) {
      const double d = double(elements.update(i + j));
      const bool kept = elements.is_kept(i + j);
      return SumPair{kept ? 1. : 0., kept ? d * d : 0.};
    });
  }
  return sums.total();
}

// What is not kept is multiplied by 0, so that NaN stays. An update that is taken as it is keeps its bits.
template <class V>
void modify(const UpdateBlock& update, std::int64_t n) {
  if (!update.cautious && update.factor == 1) return;
  const UpdateElements<V> elements(update);
  V* const after = static_cast<V*>(update.after);
  const V factor = V(update.factor);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i)
    after[i] = elements.base(i) + (elements.is_kept(i) ? factor : V(0)) * elements.update(i);
}

}  // namespace
}  // namespace ravine
