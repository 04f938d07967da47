#pragma once

#include "rules/arithmetic.hpp"
#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Adan (Xie et al. 2022, algorithm 1; its betas are one minus these), d being the change of the gradient, 0 at first:
//   m <- beta1 m + (1 - beta1) g;   a <- beta2 a + (1 - beta2) d;   n <- beta3 n + (1 - beta3) (g + beta2 d)^2
//   p <- p - lr (m / (1 - beta1^t) + beta2 a / (1 - beta2^t)) / (sqrt(n / (1 - beta3^t) + eps_root) + eps)
template <class V>
struct Adan {
  static constexpr const char* name = "adan";
  static constexpr auto states = ravine::states("exp_avg", "exp_avg_diff", "exp_avg_sq", "previous_grad");
  static constexpr Decays decays = decoupled_decay;
  RAVINE_HYPER(lr, beta1, beta2, beta3, eps, eps_root);
  V one_minus_beta1, beta2, one_minus_beta2, beta3, one_minus_beta3;
  V step_size, change_step_size, inv_bias_correction3, eps, eps_root, first;

  static Adan prepare(const Hyper& h, double t) {
    return {1 - h.beta1,
            h.beta2,
            1 - h.beta2,
            h.beta3,
            1 - h.beta3,
            h.lr / (1 - std::pow(h.beta1, t)),
            h.lr * h.beta2 / (1 - std::pow(h.beta2, t)),
            1 / (1 - std::pow(h.beta3, t)),
            h.eps,
            h.eps_root,
            t == 1 ? 1. : 0.};
  }

  void operator()(V& p, V g, V& m, V& a, V& n, V& previous) const {
    const V d = first != 0 ? V(0) : g - previous;
    const V ahead = g + beta2 * d;
    m += one_minus_beta1 * (g - m);
    a += one_minus_beta2 * (d - a);
    n = beta3 * n + one_minus_beta3 * (ahead * ahead);
    p -= (step_size * m + change_step_size * a) / (sqrt_(n * inv_bias_correction3 + eps_root) + eps);
    previous = g;
  }
};

}  // namespace
}  // namespace ravine
