#include "plan/gradients.hpp"

#include <cmath>

#include "isa/select.hpp"
#include "plan/norm.hpp"
#include "plan/sweep.hpp"

namespace ravine {
namespace {

std::int64_t bytes_of(const std::vector<Gradient>& gradients) {
  std::int64_t bytes = 0;
  for (const Gradient& gradient : gradients) bytes += gradient.size * item_size(gradient.dtype);
  return bytes;
}

}  // namespace

GradientNorm norm_of(const std::vector<Gradient>& gradients, double p) {
  const Norm norm(p);
  std::vector<std::int64_t> begins;  // of each one's terms
  std::int64_t count = 0;
  begins.reserve(gradients.size());
  for (const Gradient& gradient : gradients) {
    begins.push_back(count);
    count += divide_up(gradient.size, elements_per_sum);
  }
  std::vector<SumPair> terms(count);
  const auto terms_of = [&](const Gradient& gradient) { return terms.data() + begins[&gradient - gradients.data()]; };
  sweep(
      gradients, threads::share_of(bytes_of(gradients)), [](const Gradient&) { return elements_per_sum; },
      [&](const Gradient& gradient, std::int64_t begin, std::int64_t end) {
        norm.find_terms(gradient.data, gradient.dtype, 1, begin, end, terms_of(gradient));
      });
  const auto [value, nonfinite] = norm.of(terms);
  GradientNorm found{value, {}};
  if (nonfinite > 0)
    for (std::size_t i = 0; i < gradients.size(); ++i)
      if (has_nonfinite(terms_of(gradients[i]), gradients[i].size)) found.nonfinite.push_back(i);
  return found;
}

void clip(const std::vector<Gradient>& gradients, double factor, double limit) {
  if (factor == 1 && std::isinf(limit)) return;
  Stage stage;
  stage.factor = factor;
  stage.limit = limit;
  const auto& kernels = isa::active().stages->limit;
  sweep(
      gradients, threads::share_of(2 * bytes_of(gradients)), [](const Gradient&) { return elements_per_line; },
      [&](const Gradient& gradient, std::int64_t begin, std::int64_t end) {
        void* const first = static_cast<std::byte*>(gradient.data) + begin * item_size(gradient.dtype);
        kernels[int(gradient.dtype)](first, end - begin, stage, first);
      });
}

}  // namespace ravine
