#pragma once

#include "rules/arithmetic.hpp"
#include "rules/hyper.hpp"
#include "rules/names.hpp"

namespace ravine {
namespace {  // see rules.hpp

// Muon (Jordan et al. 2024) keeps a running mean of g, and steps along it, or (Nesterov) along the mean of g and it,
// after products that Python makes. The mean is renewed at last, so that a step is made as a whole or not at all.
template <class V>
struct RenewedMean {
  V added, momentum;

  static RenewedMean prepare(const Hyper& h, double /*t*/) { return {1 - h.momentum, h.momentum}; }

  V renewed(V g, V b) const { return b + added * (g - b); }
};

// What the products are made of; the "parameter" is the place for it.
template <class V>
struct MuonDirection : RenewedMean<V> {
  static constexpr const char* name = "muon_direction";
  static constexpr auto states = names("momentum_buffer");

  static MuonDirection prepare(const Hyper& h, double t) { return {RenewedMean<V>::prepare(h, t)}; }

  void operator()(V& u, V g, V b) const { u = this->renewed(g, b); }
};

template <class V>
struct MuonDirectionNesterov : RenewedMean<V> {
  static constexpr const char* name = "muon_direction_nesterov";
  static constexpr auto states = names("momentum_buffer");

  static MuonDirectionNesterov prepare(const Hyper& h, double t) { return {RenewedMean<V>::prepare(h, t)}; }

  void operator()(V& u, V g, V b) const { u = g + this->momentum * (this->renewed(g, b) - g); }
};

// And what becomes of them, u:  b <- b + (1 - momentum) (g - b);   p <- p - lr u
template <class V>
struct Muon : RenewedMean<V> {
  static constexpr const char* name = "muon";
  static constexpr auto states = names("momentum_buffer", "direction");
  V lr;

  static Muon prepare(const Hyper& h, double t) { return {RenewedMean<V>::prepare(h, t), h.lr}; }

  void operator()(V& p, V g, V& b, V u) const {
    b = this->renewed(g, b);
    p -= lr * u;
  }
};

}  // namespace
}  // namespace ravine
