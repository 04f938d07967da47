// The operations of a rule beyond + - * /. All of them are exactly rounded, so every instruction set gives the same
// bits.
#pragma once

#include <cfloat>
#include <cmath>

namespace ravine {
namespace {  // see rules.hpp

#if defined(__GNUC__)
// The builtin always becomes an instruction; std::sqrt may become a function that the linker shares between instruction
// sets.
inline float sqrt_(float x) { return __builtin_sqrtf(x); }
inline double sqrt_(double x) { return __builtin_sqrt(x); }
#else
inline float sqrt_(float x) { return std::sqrt(x); }
inline double sqrt_(double x) { return std::sqrt(x); }
#endif

// The greater; b where they do not compare. Put the value whose NaN must survive second.
template <class V>
V max_(V a, V b) {
  return a > b ? a : b;
}

// x, or 0 where x is subnormal.
inline float flush_(float x) { return (x < 0 ? -x : x) < FLT_MIN ? 0 : x; }
inline double flush_(double x) { return (x < 0 ? -x : x) < DBL_MIN ? 0 : x; }

}  // namespace
}  // namespace ravine
