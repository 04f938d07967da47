// The one list of update rules. A rule is a struct of coefficients over a value type V:
//   name, states   what Python calls it and the arrays it keeps beside each parameter
//   prepare        its coefficients in double, from the hyper-parameters and the step number t = 1, 2, ...
//   operator()     the update of one element: parameter, gradient, states in their order
// Only + - * / sqrt_ max_ are used, each exactly rounded, so that every instruction set computes the same bits.
//
// Rules stand in an anonymous namespace because they are compiled once for each instruction set: with external linkage
// the linker would keep one copy of each, perhaps the AVX-512 one, for all.
#pragma once

#include "rules/adagrad.hpp"
#include "rules/adam.hpp"
#include "rules/rmsprop.hpp"
#include "rules/sgd.hpp"

namespace ravine {
namespace {

template <template <class> class... Rules>
struct RuleList {
  static constexpr int size = sizeof...(Rules);
};

using AllRules = RuleList<Sgd, Momentum, Nesterov, Adagrad, RMSprop, RMSpropMomentum, RMSpropCentered,
                          RMSpropCenteredMomentum, Adam, AmsGrad>;

}  // namespace
}  // namespace ravine
