// A storage type as a stage: Adam with its states in bfloat16, decoded into a block, updated by the rule as it is, and
// encoded back. Prints the number of elements that differ from the rule on float32 states rounded after each step.
#include <cstdio>
#include <cstring>
#include <vector>

#include "loop/elementwise.hpp"
#include "plan/blocks.hpp"
#include "rules/adam.hpp"

namespace {

using namespace ravine;

float decoded(std::uint16_t code) {
  const std::uint32_t bits = std::uint32_t(code) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// To the nearest, ties to even.
std::uint16_t encoded(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return std::uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

void load(const void* memory, std::int64_t n, const Stage& /*stage*/, void* block) {
  for (std::int64_t i = 0; i < n; ++i)
    static_cast<float*>(block)[i] = decoded(static_cast<const std::uint16_t*>(memory)[i]);
}

void store(const void* block, std::int64_t n, const Stage& /*stage*/, void* memory) {
  for (std::int64_t i = 0; i < n; ++i)
    static_cast<std::uint16_t*>(memory)[i] = encoded(static_cast<const float*>(block)[i]);
}

}  // namespace

int main() {
  constexpr std::int64_t n = 5003;
  std::vector<float> p(n), q(n), g(n), m(n), v(n);
  std::vector<std::uint16_t> m_codes(n), v_codes(n);
  for (std::int64_t i = 0; i < n; ++i) p[i] = q[i] = float(i % 37) - 18;
  const Kernel kernel = elementwise<Adam, float, Decay::none>().update;
  Stages stages;
  stages.states[0] = stages.states[1] = {load, store, 1, 0, 2};
  for (int t = 1; t <= 5; ++t) {
    for (std::int64_t i = 0; i < n; ++i) g[i] = float((i * 7 + t * 13) % 101) / 50 - 1;
    Coefficients coefficients{1, 0, {}};
    const auto rule = Adam<double>::prepare({1e-2, 0.9, 0.999, 1e-8, 0}, t);
    std::memcpy(coefficients.rule, &rule, sizeof rule);
    Arrays staged{p.data(), g.data(), {m_codes.data(), v_codes.data()}, nullptr, {}, nullptr};
    StagedKernel{kernel, coefficients, Dtype::float32, &stages}(staged, 16, 0, n);
    Arrays straight{q.data(), g.data(), {m.data(), v.data()}, nullptr, {}, nullptr};
    StagedKernel{kernel, coefficients, Dtype::float32, nullptr}(straight, 16, 0, n);
    for (auto* state : {&m, &v})
      for (float& value : *state) value = decoded(encoded(value));
  }
  std::int64_t different = 0;
  for (std::int64_t i = 0; i < n; ++i)
    different += p[i] != q[i] || decoded(m_codes[i]) != m[i] || decoded(v_codes[i]) != v[i];
  std::printf("%lld different of %lld\n", static_cast<long long>(different), static_cast<long long>(n));
  return different != 0;
}
