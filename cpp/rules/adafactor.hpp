#pragma once

#include "kernel.hpp"
#include "rules/arithmetic.hpp"
#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Adafactor (Shazeer & Stern 2018, algorithms 4 to 6, in torch's form), for vectors:
//   v <- v + t^beta2_decay (g^2 - v);   u = g / sqrt(max(v, eps1^2))
//   p <- p - max(eps2, RMS(p)) min(lr, 1 / sqrt(t)) / max(1, RMS(u) / d) u
template <class V>
struct Adafactor {
  static constexpr const char* name = "adafactor";
  static constexpr auto states = ravine::states("variance");
  static constexpr Decays decays = decoupled_decay;
  RAVINE_HYPER(lr, beta2_decay, eps1, eps2, d);
  V added, eps1, eps2, d, step_size;

  static Adafactor prepare(const Hyper& h, double t) {
    return {std::pow(t, h.beta2_decay), h.eps1, h.eps2, h.d, min_(h.lr, 1 / std::sqrt(t))};
  }

  // A negative eps1 stands for the dtype's own.
  V least() const { return eps1 < 0 ? std::numeric_limits<V>::epsilon() : eps1; }

  void average(V square, V& v) const { v += added * (square - v); }

  V scaled(V g, V v) const { return g / sqrt_(max_(least() * least(), v)); }

  SumPair terms(V p, V u) const { return {double(p) * double(p), double(u) * double(u)}; }

  SumPair measure(V p, V g, V& v) const {
    average(g * g, v);
    return terms(p, scaled(g, v));
  }

  void decide(SumPair sums, double n, double* /*carried*/) {
    step_size *= max_(std::sqrt(sums.first / n), eps2) / max_(std::sqrt(sums.second / n) / d, 1.);
  }

  void apply(V& p, V u) const { p -= step_size * u; }

  void operator()(V& p, V g, V v) const { apply(p, scaled(g, v)); }
};

// The same for matrices: r and c are the running means of g^2 along rows and columns, and r c / mean(r) stands for v.
template <class V>
struct AdafactorFactored : Adafactor<V> {
  static constexpr const char* name = "adafactor_factored";
  static constexpr auto states = ravine::states(one_a_row("row_var"), one_a_column("col_var"));
  static constexpr bool is_factored = true;

  static AdafactorFactored prepare(const typename Adafactor<V>::Hyper& h, double t) {
    return {Adafactor<V>::prepare(h, t)};
  }

  V share(V r, V mean) const { return r / max_(this->least(), mean); }
};

}  // namespace
}  // namespace ravine
