// The floating-point mode of a thread: whether it takes subnormal numbers for zero, and how it rounds. Work that
// several threads share is done in the mode of its caller by all of them, so that their number changes no bit.
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace ravine::threads {

using FloatingMode = std::uint64_t;

#if defined(__x86_64__) || defined(_M_X64)

inline FloatingMode floating_mode() {
  constexpr unsigned raised = 0x3f;  // flags of what has happened, which are no mode
  return _mm_getcsr() & ~raised;
}

inline void set_floating_mode(FloatingMode mode) { _mm_setcsr(unsigned(mode)); }

#elif defined(__aarch64__) && defined(__GNUC__)

inline FloatingMode floating_mode() {
  FloatingMode mode;
  __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
  return mode;
}

inline void set_floating_mode(FloatingMode mode) { __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }

#else

inline FloatingMode floating_mode() { return 0; }
inline void set_floating_mode(FloatingMode) {}

#endif

// Sets the mode of this thread, which costs more than looking, where it is another.
inline void follow(FloatingMode mode) {
  if (floating_mode() != mode) set_floating_mode(mode);
}

}  // namespace ravine::threads
