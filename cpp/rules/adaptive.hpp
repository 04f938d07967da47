// Rules that divide a gradient by the root of its squares so far.
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

// RMSprop (Tieleman & Hinton 2012, lecture 6e); centered: Graves 2013, equations 38 to 45.
//   v <- alpha v + (1 - alpha) g^2
//   u  = g / (sqrt(v + eps_root) + eps)        centered: v - a^2 for v, where a <- alpha a + (1 - alpha) g
//   p <- p - lr u                              with momentum: b <- momentum b + u;  p <- p - lr b
template <class V>
struct RMSprop {
  static constexpr const char* name = "rmsprop";
  static constexpr auto states = ravine::states("square_avg");
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, alpha, eps, eps_root, momentum);
  V lr, alpha, one_minus_alpha, eps, eps_root, momentum;

  static RMSprop prepare(const Hyper& h, double /*t*/) {
    return {h.lr, h.alpha, 1 - h.alpha, h.eps, h.eps_root, h.momentum};
  }

  V scaled(V g, V v) const { return g / (sqrt_(v + eps_root) + eps); }

  V plain(V g, V& v) const {
    v = alpha * v + one_minus_alpha * (g * g);
    return scaled(g, v);
  }

  V centered(V g, V& v, V& a) const {
    v = alpha * v + one_minus_alpha * (g * g);
    a = alpha * a + one_minus_alpha * g;
    return scaled(g, max_(V(0), v - a * a));  // rounding can leave the variance just below 0
  }

  void operator()(V& p, V g, V& v) const { p -= lr * plain(g, v); }
};

template <class V>
struct RMSpropMomentum : RMSprop<V> {
  static constexpr const char* name = "rmsprop_momentum";
  static constexpr auto states = ravine::states("square_avg", "momentum_buffer");

  static RMSpropMomentum prepare(const typename RMSprop<V>::Hyper& h, double t) { return {RMSprop<V>::prepare(h, t)}; }

  void operator()(V& p, V g, V& v, V& b) const {
    b = this->momentum * b + this->plain(g, v);
    p -= this->lr * b;
  }
};

template <class V>
struct RMSpropCentered : RMSprop<V> {
  static constexpr const char* name = "rmsprop_centered";
  static constexpr auto states = ravine::states("square_avg", "grad_avg");

  static RMSpropCentered prepare(const typename RMSprop<V>::Hyper& h, double t) { return {RMSprop<V>::prepare(h, t)}; }

  void operator()(V& p, V g, V& v, V& a) const { p -= this->lr * this->centered(g, v, a); }
};

template <class V>
struct RMSpropCenteredMomentum : RMSprop<V> {
  static constexpr const char* name = "rmsprop_centered_momentum";
  static constexpr auto states = ravine::states("square_avg", "grad_avg", "momentum_buffer");

  static RMSpropCenteredMomentum prepare(const typename RMSprop<V>::Hyper& h, double t) {
    return {RMSprop<V>::prepare(h, t)};
  }

  void operator()(V& p, V g, V& v, V& a, V& b) const {
    b = this->momentum * b + this->centered(g, v, a);
    p -= this->lr * b;
  }
};

}  // namespace
}  // namespace ravine
