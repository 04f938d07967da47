// Asking for memory before it is needed.
#pragma once

#include <cstdint>

namespace ravine {
namespace {  // see rules/rules.hpp

// What gcc takes for a function without effect unless it is inlined early: prefetching.
#if defined(__GNUC__)
#define RAVINE_INLINE __attribute__((always_inline)) inline
RAVINE_INLINE void prefetch(std::uintptr_t address) { __builtin_prefetch(reinterpret_cast<const void*>(address)); }
#else
#define RAVINE_INLINE inline
RAVINE_INLINE void prefetch(std::uintptr_t) {}
#endif

}  // namespace
}  // namespace ravine
