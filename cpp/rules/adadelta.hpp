#pragma once

#include "rules/arithmetic.hpp"
#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Adadelta (Zeiler 2012, algorithm 1):
//   v <- rho v + (1 - rho) g^2
//   d  = sqrt(u + eps) / sqrt(v + eps) g
//   u <- rho u + (1 - rho) d^2;   p <- p - lr d
template <class V>
struct Adadelta {
  static constexpr const char* name = "adadelta";
  static constexpr auto states = ravine::states("square_avg", "acc_delta");
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, rho, eps);
  V lr, rho, one_minus_rho, eps;

  static Adadelta prepare(const Hyper& h, double /*t*/) { return {h.lr, h.rho, 1 - h.rho, h.eps}; }

  void operator()(V& p, V g, V& v, V& u) const {
    v = rho * v + one_minus_rho * (g * g);
    const V d = sqrt_(u + eps) / sqrt_(v + eps) * g;
    u = rho * u + one_minus_rho * (d * d);
    p -= lr * d;
  }
};

}  // namespace
}  // namespace ravine
