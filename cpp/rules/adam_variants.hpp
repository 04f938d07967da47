// Successors of Adam that keep its means. In the formulas m' = m / (1 - beta1^t), v' = v / (1 - beta2^t).
#pragma once

#include "rules/adam.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Adamax (Kingma & Ba 2015, algorithm 2), eps where torch has it:
//   u <- max(beta2 u, |g| + eps);   p <- p - lr m' / u
template <class V>
struct Adamax : Means<V> {
  static constexpr const char* name = "adamax";
  static constexpr auto states = ravine::states("exp_avg", "exp_inf");
  static constexpr Decays decays = coupled_decay;
  RAVINE_HYPER(lr, beta1, beta2, eps);
  V step_size, eps;

  static Adamax prepare(const Hyper& h, double t) {
    return {Means<V>::prepare(h), h.lr / (1 - std::pow(h.beta1, t)), h.eps};
  }

  void operator()(V& p, V g, V& m, V& u) const {
    this->mean(g, m);
    u = max_(this->beta2 * u, abs_(g) + eps);
    p -= step_size * m / u;
  }
};

// NAdam (Dozat 2016, algorithm 2, with the schedule of mu of its section 3):
//   mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);   M_t = mu_1 mu_2 ... mu_t
//   p <- p - (lr (1 - mu_t) / (1 - M_t) g + lr mu_t+1 / (1 - M_t+1) m) / (sqrt(v') + eps)
template <class V>
struct NAdam : Adam<V> {
  static constexpr const char* name = "nadam";
  static constexpr auto carries = names("mu_product");
  RAVINE_HYPER(lr, beta1, beta2, eps, momentum_decay);
  V gradient_step_size;

  static NAdam prepare(const Hyper& h, double t, double* carried) {
    const auto mu = [&](double at) { return h.beta1 * (1 - 0.5 * std::pow(0.96, at * h.momentum_decay)); };
    const double product = (t == 1 ? 1 : carried[0]) * mu(t);
    carried[0] = product;
    NAdam rule{Adam<V>::prepare(h, t, 0), h.lr * (1 - mu(t)) / (1 - product)};
    rule.step_size = h.lr * mu(t + 1) / (1 - product * mu(t + 1));
    return rule;
  }

  void operator()(V& p, V g, V& m, V& v) const {
    this->average(g, m, v);
    p -= (gradient_step_size * g + this->step_size * m) / this->denominator(v);
  }
};

// RAdam (Liu et al. 2020, algorithm 2), eps beside the raw root as in torch:
//   rho = 2 / (1 - beta2) - 1;   rho_t = rho - 2 t beta2^t / (1 - beta2^t)
//   rho_t > 5:  p <- p - lr r_t sqrt(1 - beta2^t) m' / (sqrt(v) + eps)
//   otherwise:  p <- p - lr m'
//   r_t^2 = (rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t)
template <class V>
struct RAdam : Adam<V> {
  static constexpr const char* name = "radam";
  RAVINE_HYPER(lr, beta1, beta2, eps);
  V rectified;

  static RAdam prepare(const Hyper& h, double t) {
    RAdam rule{Adam<V>::prepare(h, t, 0), 0};
    rule.take_raw_root();
    const double power = std::pow(h.beta2, t);
    const double rho = 2 / (1 - h.beta2) - 1;
    const double rho_t = rho - 2 * t * power / (1 - power);
    if (rho_t > 5) {
      rule.rectified = 1;
      rule.step_size *=
          std::sqrt(1 - power) * std::sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t));
    }
    return rule;
  }

  void operator()(V& p, V g, V& m, V& v) const {
    this->average(g, m, v);
    const V root = this->denominator(v);
    p -= this->step_size * m / (rectified != 0 ? root : V(1));
  }
};

// AdaBelief (Zhuang et al. 2020, algorithm 2), s being the running mean of (g - m)^2, raised by eps_root at each step:
//   s <- beta2 s + (1 - beta2) (g - m)^2 + eps_root
//   p <- p - lr m' / (sqrt(s / (1 - beta2^t)) + eps)
template <class V>
struct AdaBelief : Adam<V> {
  static constexpr const char* name = "adabelief";
  static constexpr auto states = ravine::states("exp_avg", "exp_avg_var");
  V floor;

  static AdaBelief prepare(const typename Adam<V>::Hyper& h, double t) {
    return {Adam<V>::prepare(h, t, 0), h.eps_root};
  }

  void average(V g, V& m, V& s) const {
    this->mean(g, m);
    this->mean_square(g - m, s);
    s += floor;
  }

  void operator()(V& p, V g, V& m, V& s) const {
    average(g, m, s);
    p -= this->update(m, s);
  }
};

// The same with Nesterov's momentum (Dozat 2016), as in optax:
//   p <- p - lr (beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)
template <class V>
struct AdaBeliefNesterov : AdaBelief<V> {
  static constexpr const char* name = "adabelief_nesterov";
  V gradient_step_size;

  static AdaBeliefNesterov prepare(const typename Adam<V>::Hyper& h, double t) {
    AdaBeliefNesterov rule{AdaBelief<V>::prepare(h, t), h.lr * (1 - h.beta1) / (1 - std::pow(h.beta1, t))};
    rule.step_size = h.lr * h.beta1 / (1 - std::pow(h.beta1, t + 1));
    return rule;
  }

  void operator()(V& p, V g, V& m, V& s) const {
    this->average(g, m, s);
    p -= (gradient_step_size * g + this->step_size * m) / this->denominator(s);
  }
};

// Yogi (Zaheer et al. 2018, algorithm 2): Adam with
//   v <- v - (1 - beta2) sign(v - g^2) g^2
template <class V>
struct Yogi : Adam<V> {
  static constexpr const char* name = "yogi";
  RAVINE_HYPER(lr, beta1, beta2, eps);

  static Yogi prepare(const Hyper& h, double t) { return {Adam<V>::prepare(h, t, 0)}; }

  void operator()(V& p, V g, V& m, V& v) const {
    this->mean(g, m);
    const V square = g * g;
    v -= this->one_minus_beta2 * (sign_(v - square) * square);
    p -= this->update(m, v);
  }
};

// AdEMAMix (Pagliardini, Ablin & Grangier 2024, algorithm 1): Adam with a second, slow mean l of g:
//   l <- l + (1 - beta3_t) (g - l)
//   p <- p - lr (m' + alpha_t l) / (sqrt(v' + eps_root) + eps)
// alpha grows over its warm-up from 0, beta3 from beta1 so that its half-life grows linearly (equation after 3).
template <class V>
struct AdEMAMix : Adam<V> {
  static constexpr const char* name = "ademamix";
  static constexpr auto states = ravine::states("exp_avg", "exp_avg_slow", "exp_avg_sq");
  static constexpr Decays decays = decoupled_decay;
  RAVINE_HYPER(lr, beta1, beta2, beta3, eps, eps_root, alpha, alpha_warmup, beta3_warmup);
  V slow_step_size, one_minus_beta3;

  static AdEMAMix prepare(const Hyper& h, double t) {
    const double alpha = t < h.alpha_warmup ? t / h.alpha_warmup * h.alpha : h.alpha;
    double beta3 = h.beta3;
    if (t < h.beta3_warmup) {
      const double part = t / h.beta3_warmup;
      beta3 = std::exp(1 / ((1 - part) / std::log(h.beta1) + part / std::log(h.beta3)));
    }
    return {Adam<V>::prepare(h, t, h.eps_root), h.lr * alpha, 1 - beta3};
  }

  void operator()(V& p, V g, V& m, V& l, V& v) const {
    this->average(g, m, v);
    l += one_minus_beta3 * (g - l);
    p -= (this->step_size * m + slow_step_size * l) / this->denominator(v);
  }
};

}  // namespace
}  // namespace ravine
