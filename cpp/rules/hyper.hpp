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
  double rho = unset;
  double beta3 = unset;
  double alpha_warmup = unset;
  double beta3_warmup = unset;
  double momentum_decay = unset;
  double lambd = unset;
  double t0 = unset;
  double eta_minus = unset;
  double eta_plus = unset;
  double step_min = unset;
  double step_max = unset;
  double clipped = unset;
  double warmup_steps = unset;
  double r = unset;
  double weight_lr_power = unset;
  double weight = unset;
  double trust_coefficient = unset;
  double beta2_decay = unset;
  double eps1 = unset;
  double eps2 = unset;
  double d = unset;
  double d0 = unset;
  double d_coef = unset;
  double safeguard_warmup = unset;
  double tolerance = unset;
  double update_decay = unset;  // a weight decay that joins the update rather than the gradient
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
    {"rho", &Hyper::rho},
    {"beta3", &Hyper::beta3},
    {"alpha_warmup", &Hyper::alpha_warmup},
    {"beta3_warmup", &Hyper::beta3_warmup},
    {"momentum_decay", &Hyper::momentum_decay},
    {"lambd", &Hyper::lambd},
    {"t0", &Hyper::t0},
    {"eta_minus", &Hyper::eta_minus},
    {"eta_plus", &Hyper::eta_plus},
    {"step_min", &Hyper::step_min},
    {"step_max", &Hyper::step_max},
    {"clipped", &Hyper::clipped},
    {"warmup_steps", &Hyper::warmup_steps},
    {"r", &Hyper::r},
    {"weight_lr_power", &Hyper::weight_lr_power},
    {"weight", &Hyper::weight},
    {"trust_coefficient", &Hyper::trust_coefficient},
    {"beta2_decay", &Hyper::beta2_decay},
    {"eps1", &Hyper::eps1},
    {"eps2", &Hyper::eps2},
    {"d", &Hyper::d},
    {"d0", &Hyper::d0},
    {"d_coef", &Hyper::d_coef},
    {"safeguard_warmup", &Hyper::safeguard_warmup},
    {"tolerance", &Hyper::tolerance},
    {"update_decay", &Hyper::update_decay},
};

}  // namespace ravine
