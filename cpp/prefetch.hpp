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

// The cache lines of so many bytes.
RAVINE_INLINE void prefetch_lines(std::uintptr_t address, std::uintptr_t bytes) {
  constexpr std::uintptr_t line = 64;
  for (std::uintptr_t at = 0; at < bytes; at += line) prefetch(address + at);
}

}  // namespace
}  // namespace ravine
