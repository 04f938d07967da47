// The norm of many gradients, and what follows from it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "isa/select.hpp"
#include "plan/measures.hpp"

namespace ravine {

// A p-norm, from the terms of blocks of each gradient.
class Norm {
 public:
  // p is above 0.
  explicit Norm(double p) : p_(p), kernels_(isa::active().stages->norm_terms[int(term_of(p))]) {}

  // Finds the terms of a gradient's elements [begin, end), multiplied by `factor` first: one of each
  // `elements_per_sum`.
  void find_terms(const void* gradient, Dtype dtype, double factor, std::int64_t begin, std::int64_t end,
                  SumPair* terms) const {
    kernels_[int(dtype)](gradient, factor, p_, begin, end, terms);
  }

  struct Result {
    double norm;
    double nonfinite;  // how many elements are not finite
  };

  // From the terms of all gradients, added in their order.
  Result of(const std::vector<SumPair>& all) const {
    const NormTerm term = term_of(p_);
    SumPair total{0, 0};
    for (const SumPair& terms : all) {
      if (term != NormTerm::greatest)
        total.first += terms.first;
      else if (terms.first > total.first || std::isnan(terms.first))  // and nothing is greater than NaN
        total.first = terms.first;
      total.second += terms.second;
    }
    const double norm = term == NormTerm::square  ? std::sqrt(total.first)
                        : term == NormTerm::power ? std::pow(total.first, 1 / p_)
                                                  : total.first;
    return {norm, total.second};
  }

 private:
  static NormTerm term_of(double p) {
    return p == 2          ? NormTerm::square
           : p == 1        ? NormTerm::absolute
           : std::isinf(p) ? NormTerm::greatest
                           : NormTerm::power;
  }

  double p_;
  const NormKernel* kernels_;  // for each dtype
};

// Whether elements of a gradient of `size` elements are not finite, by its terms.
inline bool has_nonfinite(const SumPair* terms, std::int64_t size) {
  return std::any_of(terms, terms + divide_up(size, elements_per_sum),
                     [](const SumPair& of_block) { return of_block.second > 0; });
}

// What gradients are multiplied by to clip their norm. NaN where the norm is, as in torch.
inline double clip_coefficient(double max_norm, double norm) {
  if (std::isinf(max_norm)) return 1;
  const double clip = max_norm / (norm + 1e-6);
  return clip > 1 ? 1 : clip;
}

}  // namespace ravine
