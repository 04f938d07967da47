// Rules whose steps are as long as their parameter, tensor by tensor.
#pragma once

#include "kernel.hpp"
#include "rules/adam.hpp"

namespace ravine {
namespace {  // see rules.hpp

// |p| / (|u| + eps) of the sums of squares; 1 where either norm is 0.
inline double trust_ratio(SumPair squares, double coefficient, double eps) {
  const double of_parameter = std::sqrt(squares.first);
  const double of_update = std::sqrt(squares.second);
  return of_parameter == 0 || of_update == 0 ? 1 : coefficient * of_parameter / (of_update + eps);
}

template <class V>
SumPair squares(V a, V b) {
  return {double(a) * double(a), double(b) * double(b)};
}

// LARS (You, Gitman & Ginsburg 2017, algorithm 1, eps as in optax):
//   b <- momentum b + lr trust_coefficient |p| / (|g| + eps) g;   p <- p - b          lr g where either norm is 0
template <class V>
struct Lars {
  static constexpr const char* name = "lars";
  static constexpr auto states = ravine::states("momentum_buffer");
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, momentum, trust_coefficient, eps);
  V lr, momentum, trust_coefficient, eps;

  static Lars prepare(const Hyper& h, double /*t*/) { return {h.lr, h.momentum, h.trust_coefficient, h.eps}; }

  SumPair measure(V p, V g, V /*b*/) const { return squares(p, g); }

  void decide(SumPair sums, double /*n*/, double* /*carried*/) { lr *= trust_ratio(sums, trust_coefficient, eps); }

  void operator()(V& p, V g, V& b) const {
    b = momentum * b + lr * g;
    p -= b;
  }
};

// The same with Nesterov's momentum, as in optax.
template <class V>
struct LarsNesterov : Lars<V> {
  static constexpr const char* name = "lars_nesterov";

  static LarsNesterov prepare(const typename Lars<V>::Hyper& h, double t) { return {Lars<V>::prepare(h, t)}; }

  void operator()(V& p, V g, V& b) const {
    const V now = this->lr * g;
    b = this->momentum * b + now;
    p -= this->momentum * b + now;
  }
};

// LAMB (You et al. 2020, algorithm 2), m and v being Adam's:
//   u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t) + eps_root) + eps) + weight_decay p
//   p <- p - lr |p| / |u| u                                                           lr u where either norm is 0
template <class V>
struct Lamb : Adam<V> {
  static constexpr const char* name = "lamb";
  static constexpr Decays decays = no_decay;
  RAVINE_HYPER(lr, beta1, beta2, eps, eps_root, weight_decay);
  V lr, decay;

  static Lamb prepare(const Hyper& h, double t) {
    Lamb rule{Adam<V>::prepare(h, t, h.eps_root), h.lr, h.weight_decay};
    rule.step_size = 1 / (1 - std::pow(h.beta1, t));
    return rule;
  }

  V direction(V p, V m, V v) const { return this->update(m, v) + decay * p; }

  SumPair measure(V p, V g, V& m, V& v) const {
    this->average(g, m, v);
    return squares(p, direction(p, m, v));
  }

  void decide(SumPair sums, double /*n*/, double* /*carried*/) { lr *= trust_ratio(sums, 1, 0); }

  void operator()(V& p, V /*g*/, V m, V v) const { p -= lr * direction(p, m, v); }
};

}  // namespace
}  // namespace ravine
