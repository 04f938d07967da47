#pragma once

#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Gradient descent: p <- p - lr g
template <class V>
struct Sgd {
  static constexpr const char* name = "sgd";
  static constexpr auto states = ravine::states();
  static constexpr bool sparse = true;
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr);
  V lr;

  static Sgd prepare(const Hyper& h, double /*t*/) { return {h.lr}; }

  void operator()(V& p, V g) const { p -= lr * g; }
};

// Heavy ball (Polyak 1964; Sutskever et al. 2013, equations 1 and 2, with lr outside the velocity as in torch):
//   b <- momentum b + (1 - dampening) g        the first step stores g undamped
//   p <- p - lr b
template <class V>
struct Momentum {
  static constexpr const char* name = "momentum";
  static constexpr auto states = ravine::states("momentum_buffer");
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, momentum, dampening);
  V lr, kept, added;

  static Momentum prepare(const Hyper& h, double t) {
    const bool first = t == 1;
    return {h.lr, first ? 0 : h.momentum, first ? 1 : 1 - h.dampening};
  }

  void operator()(V& p, V g, V& b) const {
    b = kept * b + added * g;
    p -= lr * b;
  }
};

// Nesterov's accelerated gradient (Sutskever et al. 2013, equations 3 and 4, in torch's form; no dampening):
//   b <- momentum b + g;   p <- p - lr (g + momentum b)
template <class V>
struct Nesterov {
  static constexpr const char* name = "nesterov";
  static constexpr auto states = ravine::states("momentum_buffer");
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, momentum);
  V lr, momentum;

  static Nesterov prepare(const Hyper& h, double /*t*/) { return {h.lr, h.momentum}; }

  void operator()(V& p, V g, V& b) const {
    b = momentum * b + g;
    p -= lr * (g + momentum * b);
  }
};

}  // namespace
}  // namespace ravine
