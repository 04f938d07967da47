// The one list of update rules. A rule is a struct of coefficients over a value type V:
//   name, states   what Python calls it and the arrays it keeps beside each parameter
//   prepare        its coefficients in double, from the hyper-parameters and the step number t = 1, 2, ...
//   operator()     the update of one element: parameter, gradient, states in their order
//   sparse         true where an element without a gradient stays as it is, states and all, so that whole rows can be
//                  left out; not mentioned otherwise
// Only + - * / sqrt_ abs_, comparisons and choices are used, each exact or exactly rounded, so that every instruction
// set computes the same bits.
//
// What follows from t and the hyper-parameters of this step alone needs no memory. A rule whose coefficients depend on
// those of earlier steps, which may have been others, names the numbers that it carries from step to step:
//   scalars        what Python calls them; a double each, for each parameter
// and its prepare takes them as a third argument, which holds what the last step left, and leaves what the next one
// needs. At t = 1 there was no last step: prepare says what they start from.
//
// A rule that needs to know something of a whole tensor before it updates it has three parts:
//   measure        what is summed up over all elements, as a pair of terms for each; it may renew the states on the way
//   decide         its coefficients, once the sums are known, in double; n is the number of elements
//   operator()     the update; a rule that has made it in measure needs none
// With sums_over_group the sums are those of all parameters of a group. What a function takes by value it leaves alone,
// and the loop does not store it.
//
// Rules stand in an anonymous namespace because they are compiled once for each instruction set: with external linkage
// the linker would keep one copy of each, perhaps the AVX-512 one, for all.
#pragma once

#include "rules/adadelta.hpp"
#include "rules/adafactor.hpp"
#include "rules/adagrad.hpp"
#include "rules/adam.hpp"
#include "rules/adan.hpp"
#include "rules/adopt.hpp"
#include "rules/averaging.hpp"
#include "rules/estimating.hpp"
#include "rules/lion.hpp"
#include "rules/muon.hpp"
#include "rules/rmsprop.hpp"
#include "rules/rprop.hpp"
#include "rules/sgd.hpp"
#include "rules/trust_ratio.hpp"

namespace ravine {
namespace {

template <template <class> class... Rules>
struct RuleList {
  static constexpr int size = sizeof...(Rules);
};

using AllRules = RuleList<Sgd, Momentum, Nesterov, Rprop, Lion, Asgd, Lerp, SgdScheduleFree, Adagrad, Adadelta, RMSprop,
                          RMSpropMomentum, RMSpropCentered, RMSpropCenteredMomentum, Adam, SparseAdam, AmsGrad, Adamax,
                          NAdam, RAdam, AdaBelief, AdaBeliefNesterov, Yogi, Adan, AdEMAMix, Adopt, AdoptNesterov,
                          AdamWScheduleFree, Lars, LarsNesterov, Lamb, Adafactor, AdafactorFactored, Prodigy, Swats,
                          MuonDirection, MuonDirectionNesterov, Muon>;

}  // namespace
}  // namespace ravine
