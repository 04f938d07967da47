#pragma once

#include "rules/arithmetic.hpp"
#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Adagrad (Duchi, Hazan & Singer 2011, section 1.1, diagonal form), lr decaying with the step number t:
//   s <- s + g^2;   p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)
template <class V>
struct Adagrad {
  static constexpr const char* name = "adagrad";
  static constexpr auto states = ravine::states("sum");
  static constexpr bool sparse = true;
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, lr_decay, eps);
  V lr, eps;

  static Adagrad prepare(const Hyper& h, double t) { return {h.lr / (1 + (t - 1) * h.lr_decay), h.eps}; }

  void operator()(V& p, V g, V& s) const {
    s += g * g;
    p -= lr * g / (sqrt_(s) + eps);
  }
};

}  // namespace
}  // namespace ravine
