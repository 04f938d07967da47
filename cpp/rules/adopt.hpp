#pragma once

#include "rules/means.hpp"

namespace ravine {
namespace {  // see rules.hpp

// ADOPT (Taniguchi et al. 2024, algorithm 2, with clipping): g is scaled by the v of the steps before.
//   u  = g / max(sqrt(v), eps), clipped to +-clip,   clip = (t - 1)^(1/4)
//   m <- m + (1 - beta1) (u - m);   p <- p - lr m;   v <- beta2 v + (1 - beta2) g^2
// The first step only makes v = g^2.
template <class V>
struct Adopt : Means<V> {
  static constexpr const char* name = "adopt";
  static constexpr auto states = ravine::states("exp_avg", "exp_avg_sq");
  static constexpr Decays decays = either_decay;
  RAVINE_HYPER(lr, beta1, beta2, eps, use_clipping);
  V lr, eps, clip;

  static Adopt prepare(const Hyper& h, double t) {
    const bool first = t == 1;
    return {first ? Means<V>{0, 0, 1} : Means<V>::prepare(h), h.lr, h.eps,
            first || h.use_clipping != 0 ? std::pow(t - 1, 0.25) : infinity};
  }

  V average(V g, V& m, V& v) const {
    const V u = max_(-clip, min_(clip, g / max_(eps, sqrt_(v))));
    this->mean(u, m);
    this->mean_square(g, v);
    return u;
  }

  void operator()(V& p, V g, V& m, V& v) const {
    average(g, m, v);
    p -= lr * m;
  }
};

// The same with Nesterov's momentum, as in optax:
//   p <- p - lr (m + (1 - beta1) (u - m))
template <class V>
struct AdoptNesterov : Adopt<V> {
  static constexpr const char* name = "adopt_nesterov";

  static AdoptNesterov prepare(const typename Adopt<V>::Hyper& h, double t) { return {Adopt<V>::prepare(h, t)}; }

  void operator()(V& p, V g, V& m, V& v) const {
    const V u = this->average(g, m, v);
    V ahead = m;
    this->mean(u, ahead);
    p -= this->lr * ahead;
  }
};

}  // namespace
}  // namespace ravine
