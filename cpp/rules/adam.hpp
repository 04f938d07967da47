// Adam and what differs from it by its second moment. In the formulas m' = m / (1 - beta1^t), v' = v / (1 - beta2^t).
#pragma once

#include "rules/means.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Adam (Kingma & Ba 2015, algorithm 1), m and v being the running means of g and g^2:
//   p <- p - lr m' / (sqrt(v' + eps_root) + eps)
template <class V>
struct Adam : Means<V> {
  static constexpr const char* name = "adam";
  static constexpr auto states = ravine::states("exp_avg", "exp_avg_sq");
  static constexpr Decays decays = either_decay;
  RAVINE_HYPER(lr, beta1, beta2, eps, eps_root);
  V step_size, inv_bias_correction2, eps, eps_root;  // lr / (1 - beta1^t), 1 / (1 - beta2^t)

  template <class Given>
  static Adam prepare(const Given& h, double t, double eps_root) {
    return {Means<V>::prepare(h), h.lr / (1 - std::pow(h.beta1, t)), 1 / (1 - std::pow(h.beta2, t)), h.eps, eps_root};
  }

  static Adam prepare(const Hyper& h, double t) { return prepare(h, t, h.eps_root); }

  void average(V g, V& m, V& v) const {
    this->mean(g, m);
    this->mean_square(g, v);
  }

  V denominator(V v) const { return sqrt_(v * inv_bias_correction2 + eps_root) + eps; }

  V update(V m, V v) const { return step_size * m / denominator(v); }

  // Puts eps beside the raw root, sqrt(v) + eps, where torch has it in RAdam and SparseAdam.
  void take_raw_root() { inv_bias_correction2 = 1; }

  void operator()(V& p, V g, V& m, V& v) const {
    average(g, m, v);
    p -= update(m, v);
  }
};

// SparseAdam, Adam for the rows that a gradient names, as in torch: the means of other rows stand still, and
//   p <- p - lr sqrt(1 - beta2^t) m' / (sqrt(v) + eps)
template <class V>
struct SparseAdam : Adam<V> {
  static constexpr const char* name = "sparse_adam";
  static constexpr Decays decays = no_decay;
  static constexpr bool sparse = true;
  RAVINE_HYPER(lr, beta1, beta2, eps);

  static SparseAdam prepare(const Hyper& h, double t) {
    SparseAdam rule{Adam<V>::prepare(h, t, 0)};
    rule.take_raw_root();
    rule.step_size *= std::sqrt(1 - std::pow(h.beta2, t));
    return rule;
  }
};

// AMSGrad (Reddi, Kale & Kumar 2018, algorithm 2), the maximum taken of the raw v as in torch.
template <class V>
struct AmsGrad : Adam<V> {
  static constexpr const char* name = "amsgrad";
  static constexpr auto states = ravine::states("exp_avg", "exp_avg_sq", "max_exp_avg_sq");

  static AmsGrad prepare(const typename Adam<V>::Hyper& h, double t) { return {Adam<V>::prepare(h, t)}; }

  void operator()(V& p, V g, V& m, V& v, V& v_max) const {
    this->average(g, m, v);
    v_max = max_(v_max, v);
    p -= this->update(m, v_max);
  }
};

}  // namespace
}  // namespace ravine
