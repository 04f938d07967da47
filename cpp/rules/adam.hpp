#pragma once

#include "rules/arithmetic.hpp"
#include "rules/hyper.hpp"
#include "rules/names.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Adam (Kingma & Ba 2015, algorithm 1):
//   m <- m + (1 - beta1) (g - m);   v <- beta2 v + (1 - beta2) g^2
//   p <- p - step m / (sqrt(v unbias2 + eps_root) + eps),   step = lr / (1 - beta1^t),   unbias2 = 1 / (1 - beta2^t)
template <class V>
struct Adam {
  static constexpr const char* name = "adam";
  static constexpr auto states = names("exp_avg", "exp_avg_sq");
  V step, one_minus_beta1, beta2, one_minus_beta2, unbias2, eps, eps_root;

  static Adam prepare(const Hyper& h, double t) {
    return {h.lr / (1 - std::pow(h.beta1, t)), 1 - h.beta1, h.beta2,   1 - h.beta2,
            1 / (1 - std::pow(h.beta2, t)),    h.eps,       h.eps_root};
  }

  void average(V g, V& m, V& v) const {
    m += one_minus_beta1 * (g - m);
    v = beta2 * v + one_minus_beta2 * (g * g);
  }

  V update(V m, V v) const { return step * m / (sqrt_(v * unbias2 + eps_root) + eps); }

  void operator()(V& p, V g, V& m, V& v) const {
    average(g, m, v);
    p -= update(m, v);
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

}  // namespace
}  // namespace ravine
