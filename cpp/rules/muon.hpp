#pragma once

#include "rules/arithmetic.hpp"
#include "rules/schema.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Muon (Jordan et al. 2024) keeps a running mean of g, and steps along it after matrix products, which are made outside
// the rule, have replaced the direction u. The mean is renewed at last, so that a step is made as a whole or not at
// all:
//   u  = b + (1 - momentum) (g - b)                                                 -> products ->  u
//   b <- b + (1 - momentum) (g - b);   p <- p - lr u
template <class V>
struct Muon {
  static constexpr const char* name = "muon";
  static constexpr auto states = ravine::states("momentum_buffer", scratch("direction"));
  static constexpr Decays decays = decoupled_decay;
  RAVINE_HYPER(lr, momentum);
  V added, momentum, lr;

  static Muon prepare(const Hyper& h, double /*t*/) { return {1 - h.momentum, h.momentum, h.lr}; }

  V renewed(V g, V b) const { return b + added * (g - b); }

  void propose(V /*p*/, V g, V b, V& u) const { u = renewed(g, b); }

  void operator()(V& p, V g, V& b, V u) const {
    b = renewed(g, b);
    p -= lr * u;
  }
};

// The same with Nesterov's momentum:  u = g + momentum (b + (1 - momentum) (g - b) - g)
template <class V>
struct MuonNesterov : Muon<V> {
  static constexpr const char* name = "muon_nesterov";

  static MuonNesterov prepare(const typename Muon<V>::Hyper& h, double t) { return {Muon<V>::prepare(h, t)}; }

  void propose(V /*p*/, V g, V b, V& u) const { u = g + this->momentum * (this->renewed(g, b) - g); }
};

}  // namespace
}  // namespace ravine
