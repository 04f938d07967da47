// The running means of Adam's family.
#pragma once

#include "rules/arithmetic.hpp"
#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Running means of a value and of its square:
//   m <- m + (1 - beta1) (x - m);   v <- beta2 v + (1 - beta2) x^2
template <class V>
struct Means {
  V one_minus_beta1, beta2, one_minus_beta2;

  template <class Hyper>
  static Means prepare(const Hyper& h) {
    return {1 - h.beta1, h.beta2, 1 - h.beta2};
  }

  void mean(V x, V& m) const { m += one_minus_beta1 * (x - m); }
  void mean_square(V x, V& v) const { v = beta2 * v + one_minus_beta2 * (x * x); }
};

}  // namespace
}  // namespace ravine
