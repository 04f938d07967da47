// The operations of a rule beyond + - * /. All of them are exactly rounded, so every instruction set gives the same
// bits.
#pragma once

#include <cfloat>
#include <cmath>
#include <limits>

namespace ravine {
namespace {  // see rules.hpp

#if defined(__GNUC__)
// The builtins always become instructions; the functions of <cmath> may become ones that the linker shares between
// instruction sets.
inline float sqrt_(float x) { return __builtin_sqrtf(x); }
inline double sqrt_(double x) { return __builtin_sqrt(x); }
inline float abs_(float x) { return __builtin_fabsf(x); }
inline double abs_(double x) { return __builtin_fabs(x); }
inline float copysign_(float x, float sign) { return __builtin_copysignf(x, sign); }
inline double copysign_(double x, double sign) { return __builtin_copysign(x, sign); }
#else
inline float sqrt_(float x) { return std::sqrt(x); }
inline double sqrt_(double x) { return std::sqrt(x); }
inline float abs_(float x) { return std::fabs(x); }
inline double abs_(double x) { return std::fabs(x); }
inline float copysign_(float x, float sign) { return std::copysign(x, sign); }
inline double copysign_(double x, double sign) { return std::copysign(x, sign); }
#endif

// The greater; b where they do not compare. Put the value whose NaN must survive second.
template <class V>
V max_(V a, V b) {
  return a > b ? a : b;
}

// The lesser, likewise.
template <class V>
V min_(V a, V b) {
  return a < b ? a : b;
}

// 1 or -1; x itself where it is 0 or NaN.
template <class V>
V sign_(V x) {
  return abs_(x) > 0 ? copysign_(V(1), x) : x;
}

constexpr double infinity = std::numeric_limits<double>::infinity();

// x, or 0 where x is subnormal.
inline float flush_(float x) { return abs_(x) < FLT_MIN ? 0 : x; }
inline double flush_(double x) { return abs_(x) < DBL_MIN ? 0 : x; }

}  // namespace
}  // namespace ravine
