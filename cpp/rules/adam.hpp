#pragma once

#include "rules/arithmetic.hpp"
#include "rules/hyper.hpp"
#include "rules/names.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Running means of a value and of its square:
//   m <- m + (1 - beta1) (x - m);   v <- beta2 v + (1 - beta2) x^2
template <class V>
struct Means {
  V one_minus_beta1, beta2, one_minus_beta2;

  static Means prepare(const Hyper& h) { return {1 - h.beta1, h.beta2, 1 - h.beta2}; }

  void mean(V x, V& m) const { m += one_minus_beta1 * (x - m); }
  void mean_square(V x, V& v) const { v = beta2 * v + one_minus_beta2 * (x * x); }
};

// Adam (Kingma & Ba 2015, algorithm 1), m and v being the running means of g and g^2:
//   p <- p - step m / (sqrt(v unbias2 + eps_root) + eps),   step = lr / (1 - beta1^t),   unbias2 = 1 / (1 - beta2^t)
template <class V>
struct Adam : Means<V> {
  static constexpr const char* name = "adam";
  static constexpr auto states = names("exp_avg", "exp_avg_sq");
  V step, unbias2, eps, eps_root;

  static Adam prepare(const Hyper& h, double t) {
    return {Means<V>::prepare(h), h.lr / (1 - std::pow(h.beta1, t)), 1 / (1 - std::pow(h.beta2, t)), h.eps, h.eps_root};
  }

  void average(V g, V& m, V& v) const {
    this->mean(g, m);
    this->mean_square(g, v);
  }

  V denominator(V v) const { return sqrt_(v * unbias2 + eps_root) + eps; }

  V update(V m, V v) const { return step * m / denominator(v); }

  // Puts eps beside the raw root, sqrt(v) + eps, where torch has it in RAdam and SparseAdam.
  void take_raw_root() {
    unbias2 = 1;
    eps_root = 0;
  }

  void operator()(V& p, V g, V& m, V& v) const {
    average(g, m, v);
    p -= update(m, v);
  }
};

// SparseAdam, Adam for the rows that a gradient names, as in torch: the means of other rows stand still, and
//   p <- p - step m / (sqrt(v) + eps),   step = lr sqrt(1 - beta2^t) / (1 - beta1^t)
template <class V>
struct SparseAdam : Adam<V> {
  static constexpr const char* name = "sparse_adam";
  static constexpr bool sparse = true;

  static SparseAdam prepare(const Hyper& h, double t) {
    SparseAdam rule{Adam<V>::prepare(h, t)};
    rule.take_raw_root();
    rule.step *= std::sqrt(1 - std::pow(h.beta2, t));
    return rule;
  }
};

// AMSGrad (Reddi, Kale & Kumar 2018, algorithm 2), the maximum taken of the raw v as in torch.
template <class V>
struct AmsGrad : Adam<V> {
  static constexpr const char* name = "amsgrad";
  static constexpr auto states = names("exp_avg", "exp_avg_sq", "max_exp_avg_sq");

  static AmsGrad prepare(const Hyper& h, double t) { return {Adam<V>::prepare(h, t)}; }

  void operator()(V& p, V g, V& m, V& v, V& v_max) const {
    this->average(g, m, v);
    v_max = max_(v_max, v);
    p -= this->update(m, v_max);
  }
};

// Adamax (Kingma & Ba 2015, algorithm 2), eps where torch has it:
//   u <- max(beta2 u, |g| + eps);   p <- p - step m / u,   step = lr / (1 - beta1^t)
template <class V>
struct Adamax : Means<V> {
  static constexpr const char* name = "adamax";
  static constexpr auto states = names("exp_avg", "exp_inf");
  V step, eps;

  static Adamax prepare(const Hyper& h, double t) {
    return {Means<V>::prepare(h), h.lr / (1 - std::pow(h.beta1, t)), h.eps};
  }

  void operator()(V& p, V g, V& m, V& u) const {
    this->mean(g, m);
    u = max_(this->beta2 * u, abs_(g) + eps);
    p -= step * m / u;
  }
};

// NAdam (Dozat 2016, algorithm 2, with the schedule of mu of its section 3):
//   mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);   M_t = mu_1 mu_2 ... mu_t
//   p <- p - (lr (1 - mu_t) / (1 - M_t) g + lr mu_t+1 / (1 - M_t+1) m) / (sqrt(v unbias2) + eps)
template <class V>
struct NAdam : Adam<V> {
  static constexpr const char* name = "nadam";
  static constexpr auto scalars = names("mu_product");
  V gradient_step;

  static NAdam prepare(const Hyper& h, double t, double* carried) {
    const auto mu = [&](double at) { return h.beta1 * (1 - 0.5 * std::pow(0.96, at * h.momentum_decay)); };
    const double product = (t == 1 ? 1 : carried[0]) * mu(t);
    carried[0] = product;
    NAdam rule{Adam<V>::prepare(h, t), h.lr * (1 - mu(t)) / (1 - product)};
    rule.step = h.lr * mu(t + 1) / (1 - product * mu(t + 1));
    return rule;
  }

  void operator()(V& p, V g, V& m, V& v) const {
    this->average(g, m, v);
    p -= (gradient_step * g + this->step * m) / this->denominator(v);
  }
};

// RAdam (Liu et al. 2020, algorithm 2), eps beside the raw root as in torch:
//   rho = 2 / (1 - beta2) - 1;   rho_t = rho - 2 t beta2^t / (1 - beta2^t)
//   rho_t > 5:  p <- p - step r_t sqrt(1 - beta2^t) m / (sqrt(v) + eps)
//   otherwise:  p <- p - step m
//   step = lr / (1 - beta1^t);   r_t^2 = (rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t)
template <class V>
struct RAdam : Adam<V> {
  static constexpr const char* name = "radam";
  V rectified;

  static RAdam prepare(const Hyper& h, double t) {
    RAdam rule{Adam<V>::prepare(h, t), 0};
    rule.take_raw_root();
    const double power = std::pow(h.beta2, t);
    const double rho = 2 / (1 - h.beta2) - 1;
    const double rho_t = rho - 2 * t * power / (1 - power);
    if (rho_t > 5) {
      rule.rectified = 1;
      rule.step *= std::sqrt(1 - power) * std::sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t));
    }
    return rule;
  }

  void operator()(V& p, V g, V& m, V& v) const {
    this->average(g, m, v);
    const V root = this->denominator(v);
    p -= this->step * m / (rectified != 0 ? root : V(1));
  }
};

// AdaBelief (Zhuang et al. 2020, algorithm 2), s being the running mean of (g - m)^2, raised by eps_root at each step:
//   s <- beta2 s + (1 - beta2) (g - m)^2 + eps_root
//   p <- p - step m / (sqrt(s unbias2) + eps)
template <class V>
struct AdaBelief : Adam<V> {
  static constexpr const char* name = "adabelief";
  static constexpr auto states = names("exp_avg", "exp_avg_var");
  V floor;

  static AdaBelief prepare(const Hyper& h, double t) {
    AdaBelief rule{Adam<V>::prepare(h, t), h.eps_root};
    rule.eps_root = 0;
    return rule;
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
//   p <- p - lr (beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / (1 - beta1^t)) / (sqrt(s unbias2) + eps)
template <class V>
struct AdaBeliefNesterov : AdaBelief<V> {
  static constexpr const char* name = "adabelief_nesterov";
  V gradient_step;

  static AdaBeliefNesterov prepare(const Hyper& h, double t) {
    AdaBeliefNesterov rule{AdaBelief<V>::prepare(h, t), h.lr * (1 - h.beta1) / (1 - std::pow(h.beta1, t))};
    rule.step = h.lr * h.beta1 / (1 - std::pow(h.beta1, t + 1));
    return rule;
  }

  void operator()(V& p, V g, V& m, V& s) const {
    this->average(g, m, s);
    p -= (gradient_step * g + this->step * m) / this->denominator(s);
  }
};

// Yogi (Zaheer et al. 2018, algorithm 2): Adam with
//   v <- v - (1 - beta2) sign(v - g^2) g^2
template <class V>
struct Yogi : Adam<V> {
  static constexpr const char* name = "yogi";

  static Yogi prepare(const Hyper& h, double t) { return {Adam<V>::prepare(h, t)}; }

  void operator()(V& p, V g, V& m, V& v) const {
    this->mean(g, m);
    const V square = g * g;
    v -= this->one_minus_beta2 * (sign_(v - square) * square);
    p -= this->update(m, v);
  }
};

// AdEMAMix (Pagliardini, Ablin & Grangier 2024, algorithm 1): Adam with a second, slow mean l of g:
//   l <- l + (1 - beta3_t) (g - l)
//   p <- p - (step m + lr alpha_t l) / (sqrt(v unbias2 + eps_root) + eps)
// alpha grows over its warm-up from 0, beta3 from beta1 so that its half-life grows linearly (equation after 3).
template <class V>
struct AdEMAMix : Adam<V> {
  static constexpr const char* name = "ademamix";
  static constexpr auto states = names("exp_avg", "exp_avg_slow", "exp_avg_sq");
  V slow_step, one_minus_beta3;

  static AdEMAMix prepare(const Hyper& h, double t) {
    const double alpha = t < h.alpha_warmup ? t / h.alpha_warmup * h.alpha : h.alpha;
    double beta3 = h.beta3;
    if (t < h.beta3_warmup) {
      const double part = t / h.beta3_warmup;
      beta3 = std::exp(1 / ((1 - part) / std::log(h.beta1) + part / std::log(h.beta3)));
    }
    return {Adam<V>::prepare(h, t), h.lr * alpha, 1 - beta3};
  }

  void operator()(V& p, V g, V& m, V& l, V& v) const {
    this->average(g, m, v);
    l += one_minus_beta3 * (g - l);
    p -= (this->step * m + slow_step * l) / this->denominator(v);
  }
};

}  // namespace
}  // namespace ravine
