#pragma once

#include "rules/arithmetic.hpp"
#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

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
