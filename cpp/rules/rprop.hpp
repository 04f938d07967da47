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

}  // namespace
}  // namespace ravine
