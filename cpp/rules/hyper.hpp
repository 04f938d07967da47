// The hyper-parameters that rules may use, under the names the Python classes give them.
#pragma once

#include <limits>

namespace ravine {

// A field that nobody set is NaN, so a rule that reads it by mistake cannot go unnoticed.
constexpr double unset = std::numeric_limits<double>::quiet_NaN();

struct Hyper {
  double lr = unset;
  double weight_decay = unset;
  double momentum = unset;
  double dampening = unset;
  double lr_decay = unset;
  double alpha = unset;
  double beta1 = unset;
  double beta2 = unset;
  double eps = unset;
  double eps_root = unset;
};

struct HyperField {
  const char* name;
  double Hyper::* value;
};

constexpr HyperField hyper_fields[] = {
    {"lr", &Hyper::lr},
    {"weight_decay", &Hyper::weight_decay},
    {"momentum", &Hyper::momentum},
    {"dampening", &Hyper::dampening},
    {"lr_decay", &Hyper::lr_decay},
    {"alpha", &Hyper::alpha},
    {"beta1", &Hyper::beta1},
    {"beta2", &Hyper::beta2},
    {"eps", &Hyper::eps},
    {"eps_root", &Hyper::eps_root},
};

}  // namespace ravine
