// Rules that keep an average of the parameters they step through.
#pragma once

#include "rules/adam.hpp"
#include "rules/arithmetic.hpp"
#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Averaged gradient descent (Polyak & Juditsky 1992; Bottou 2012, section 5.1; Xu 2011), in torch's form, where eta and
// mu are those that the step before left:
//   p <- (1 - lambd eta) p - eta g;   a <- a + mu (p - a)
//   eta <- lr / (1 + lambd lr t)^alpha;   mu <- 1 / max(1, t - t0)          at first eta = lr, mu = 1
template <class V>
struct Asgd {
  static constexpr const char* name = "asgd";
  static constexpr auto states = ravine::states("ax");
  static constexpr auto carries = names("eta", "mu");
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, lambd, alpha, t0);
  V eta, shrink, kept, added;

  static Asgd prepare(const Hyper& h, double t, double* carried) {
    const double eta = t == 1 ? h.lr : carried[0];
    const double mu = t == 1 ? 1 : carried[1];
    carried[0] = h.lr / std::pow(1 + h.lambd * h.lr * t, h.alpha);
    carried[1] = 1 / max_(1., t - h.t0);
    return {eta, h.lambd * eta, 1 - mu, mu};
  }

  void operator()(V& p, V g, V& a) const {
    p = p - shrink * p - eta * g;
    a = kept * a + added * p;
  }
};

// Linear interpolation, the gradient being what to move to; schedule-free learning's way between x and y:
//   p <- p + weight (g - p)
template <class V>
struct Lerp {
  static constexpr const char* name = "lerp";
  static constexpr auto states = ravine::states();
  static constexpr Decays decays = no_decay;
  RAVINE_HYPER(weight);
  V weight;

  static Lerp prepare(const Hyper& h, double /*t*/) { return {h.weight}; }

  void operator()(V& p, V g) const { p += weight * (g - p); }
};

// Schedule-free learning (Defazio et al. 2024, section 2): gradients are taken at y = p between the steps z and their
// weighted average x, which is never stored: y = beta x + (1 - beta) z.
//   lr_t = lr min(1, t / warmup_steps);   w_t = t^r (max lr)^weight_lr_power;   c = w_t / (w_1 + ... + w_t)
//   p <- p + c (z - p) - lr_t (1 - beta (1 - c)) u;   z <- z - lr_t u        at first z = p
template <class V>
struct ScheduleFree {
  V lr, c, y_step, first;

  template <class Hyper>
  static ScheduleFree prepare(const Hyper& h, double t, double beta, double* carried) {
    const double lr = t < h.warmup_steps ? h.lr * (t / h.warmup_steps) : h.lr;
    const double lr_max = t == 1 ? lr : max_(lr, carried[1]);
    const double weight = std::pow(t, h.r) * std::pow(lr_max, h.weight_lr_power);
    const double sum = t == 1 ? weight : carried[0] + weight;
    const double c = sum == 0 ? 0 : weight / sum;
    carried[0] = sum;
    carried[1] = lr_max;
    return {lr, c, lr * (1 - beta * (1 - c)), t == 1 ? 1. : 0.};
  }

  void move(V& p, V u, V& z) const {
    const V from = first != 0 ? p : z;
    p += c * (from - p);
    p -= y_step * u;
    z = from - lr * u;
  }
};

// Schedule-free gradient descent: u = g.
template <class V>
struct SgdScheduleFree : ScheduleFree<V> {
  static constexpr const char* name = "sgd_schedule_free";
  static constexpr auto states = ravine::states("z");
  static constexpr auto carries = names("weight_sum", "lr_max");
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, momentum, warmup_steps, r, weight_lr_power);

  static SgdScheduleFree prepare(const Hyper& h, double t, double* carried) {
    return {ScheduleFree<V>::prepare(h, t, h.momentum, carried)};
  }

  void operator()(V& p, V g, V& z) const { this->move(p, g, z); }
};

// Schedule-free AdamW (algorithm 1 there):
//   v <- beta2 v + (1 - beta2) g^2;   u = g / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay y
template <class V>
struct AdamWScheduleFree : ScheduleFree<V> {
  static constexpr const char* name = "adamw_schedule_free";
  static constexpr auto states = ravine::states("z", "exp_avg_sq");
  static constexpr auto carries = names("weight_sum", "lr_max");
  static constexpr Decays decays = no_decay;
  RAVINE_HYPER(lr, beta1, beta2, eps, weight_decay, warmup_steps, r, weight_lr_power);
  Adam<V> adam;
  V decay;

  static AdamWScheduleFree prepare(const Hyper& h, double t, double* carried) {
    return {ScheduleFree<V>::prepare(h, t, h.beta1, carried), Adam<V>::prepare(h, t, 0), h.weight_decay};
  }

  void operator()(V& p, V g, V& z, V& v) const {
    adam.mean_square(g, v);
    this->move(p, g / adam.denominator(v) + decay * p, z);
  }
};

}  // namespace
}  // namespace ravine
