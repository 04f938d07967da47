// Rules that find their learning rate from sums over all parameters of a group.
#pragma once

#include "kernel.hpp"
#include "rules/adam.hpp"
#include "rules/sgd.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Prodigy (Mishchenko & Defazio 2024, algorithm 4, as in optax), o being the parameter at first, m and v Adam's of d g:
//   a = lr sqrt(1 - beta2^t) / (1 - beta1^t);   w = a d^2 / d0
//   s <- beta3 s + w g                                         with safeguard_warmup: d^2 / d0 instead of w
//   n <- beta3 n + w <g, o - p>;   e = max(d, d_coef n / |s|_1)           sums over the group, d = d0 at first
//   p <- p - a d (m / (sqrt(v) + e eps) + weight_decay p);   d <- e
template <class V>
struct Prodigy : Means<V> {
  static constexpr const char* name = "prodigy";
  static constexpr auto states = ravine::states("exp_avg", "exp_avg_sq", "s", "p0");
  static constexpr auto carries = names("d", "d_numerator");
  static constexpr bool sums_over_group = true;
  static constexpr Decays decays = no_decay;
  RAVINE_HYPER(lr, beta1, beta2, beta3, eps, weight_decay, safeguard_warmup, d0, d_coef);
  V d, weight, sum_weight, beta3, step_size, eps, decay, d_coef, first;

  static Prodigy prepare(const Hyper& h, double t, double* carried) {
    const double d = carried[0] > 0 ? carried[0] : h.d0;
    carried[0] = d;
    const double step_size = h.lr * d * std::sqrt(1 - std::pow(h.beta2, t)) / (1 - std::pow(h.beta1, t));
    const double weight = step_size * d / h.d0;
    return {Means<V>::prepare(h),
            d,
            weight,
            h.safeguard_warmup != 0 ? d * d / h.d0 : weight,
            h.beta3 < 0 ? std::sqrt(h.beta2) : h.beta3,
            step_size,
            h.eps,
            step_size * h.weight_decay,
            h.d_coef,
            t == 1 ? 1. : 0.};
  }

  SumPair measure(V p, V g, V& m, V& v, V& s, V& o) const {
    o = first != 0 ? p : o;
    this->mean(d * g, m);
    this->mean_square(d * g, v);
    s = beta3 * s + sum_weight * g;
    return {double(weight * g) * double(o - p), double(abs_(s))};
  }

  void decide(SumPair sums, double /*n*/, double* carried) {
    carried[1] = beta3 * carried[1] + sums.first;
    if (sums.second > 0) carried[0] = max_(d_coef * carried[1] / sums.second, carried[0]);
    eps *= carried[0];
  }

  void operator()(V& p, V /*g*/, V m, V v, V /*s*/, V /*o*/) const {
    p -= step_size * m / (sqrt_(v) + eps) + decay * p;
  }
};

// The first phase of SWATS (Keskar & Socher 2017, algorithm 1): Adam, and beside it the learning rate with which
// gradient descent would go as far along Adam's step u, and its mean, whose weights sum up to w:
//   gamma = <u, u> / <u, g>;   c <- beta2 c + (1 - beta2) gamma;   w <- beta2 w + 1 - beta2
// Where the two agree, |c / w - gamma| < tolerance, rate becomes c / w, and gradient descent takes over. A step that
// does not descend has no gamma.
template <class V>
struct Swats {
  static constexpr const char* name = "swats";
  static constexpr auto states = Adam<V>::states;
  static constexpr auto carries = names("gamma_avg", "gamma_weight", "rate");
  static constexpr bool sums_over_group = true;
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, beta1, beta2, eps, tolerance);
  Adam<V> adam;
  V tolerance;

  static Swats prepare(const Hyper& h, double t, double* /*carried*/) {
    return {Adam<V>::prepare(h, t, 0), h.tolerance};
  }

  SumPair measure(V& p, V g, V& m, V& v) const {
    adam.average(g, m, v);
    const V u = adam.update(m, v);
    p -= u;
    return {double(u) * double(u), double(u) * double(g)};
  }

  void decide(SumPair sums, double /*n*/, double* carried) {
    if (!(sums.second > 0)) return;
    const bool first = carried[1] == 0;
    const double gamma = sums.first / sums.second;
    carried[0] = adam.beta2 * carried[0] + adam.one_minus_beta2 * gamma;
    carried[1] = adam.beta2 * carried[1] + adam.one_minus_beta2;
    const double mean = carried[0] / carried[1];
    if (!first && std::abs(mean - gamma) < tolerance) carried[2] = mean;
  }
};

// Its second phase, gradient descent with Adam's first beta as momentum:
//   b <- beta1 b + g;   p <- p - lr sgd_scale (1 - beta1) b                 sgd_scale = rate / lr when it took over
template <class V>
struct SwatsDescent : Momentum<V> {
  static constexpr const char* name = "swats_descent";
  RAVINE_HYPER(lr, sgd_scale, beta1);

  static SwatsDescent prepare(const Hyper& h, double t) {
    return {Momentum<V>::prepare({h.lr * h.sgd_scale * (1 - h.beta1), h.beta1, 0}, t)};
  }
};

}  // namespace
}  // namespace ravine
