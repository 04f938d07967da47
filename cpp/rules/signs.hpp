// Rules that look at the signs of gradients.
#pragma once

#include "rules/arithmetic.hpp"
#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Rprop (Riedmiller & Braun 1993), in the form iRprop- (Igel & Huesken 2000, algorithm 2):
//   g g_previous > 0:  s <- min(s eta_plus, step_max)
//   g g_previous < 0:  s <- max(s eta_minus, step_min);   g <- 0
//   p <- p - sign(g) s;   g_previous <- g               s = lr at first, and always within its limits
template <class V>
struct Rprop {
  static constexpr const char* name = "rprop";
  static constexpr auto states = ravine::states("prev", "step_size");
  static constexpr Decays decays = no_decay;
  RAVINE_HYPER(lr, eta_minus, eta_plus, step_min, step_max);
  V lr, eta_minus, eta_plus, step_min, step_max, first;

  static Rprop prepare(const Hyper& h, double t) {
    return {h.lr, h.eta_minus, h.eta_plus, h.step_min, h.step_max, t == 1 ? 1. : 0.};
  }

  void operator()(V& p, V g, V& previous, V& s) const {
    const V agreement = g * previous;
    const V factor = agreement > 0 ? eta_plus : agreement < 0 ? eta_minus : V(1);
    s = min_(step_max, max_(step_min, (first != 0 ? lr : s) * factor));
    previous = agreement < 0 ? V(0) : g;
    p -= sign_(previous) * s;
  }
};

// Lion (Chen et al. 2023, algorithm 2):
//   p <- p - lr sign(beta1 m + (1 - beta1) g);   m <- beta2 m + (1 - beta2) g
template <class V>
struct Lion {
  static constexpr const char* name = "lion";
  static constexpr auto states = ravine::states("exp_avg");
  static constexpr Decays decays = decoupled_decay;
  RAVINE_HYPER(lr, beta1, beta2);
  V lr, beta1, one_minus_beta1, beta2, one_minus_beta2;

  static Lion prepare(const Hyper& h, double /*t*/) { return {h.lr, h.beta1, 1 - h.beta1, h.beta2, 1 - h.beta2}; }

  void operator()(V& p, V g, V& m) const {
    p -= lr * sign_(beta1 * m + one_minus_beta1 * g);
    m = beta2 * m + one_minus_beta2 * g;
  }
};

}  // namespace
}  // namespace ravine
