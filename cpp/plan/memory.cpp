#include "plan/memory.hpp"

#include <algorithm>

#if defined(__linux__)
#include <unistd.h>
#endif

namespace ravine::memory {
namespace {

// A virtual machine is told the size of a cache that it shares with others, so of a larger one no more is counted on.
constexpr std::int64_t largest_last_cache = std::int64_t(1) << 25;

// Where the system does not tell.
constexpr std::int64_t usual_own_cache = std::int64_t(1) << 20;

#if defined(__linux__) && defined(_SC_LEVEL2_CACHE_SIZE)
std::int64_t own_cache() { return std::max(std::int64_t(sysconf(_SC_LEVEL2_CACHE_SIZE)), std::int64_t(0)); }
std::int64_t last_cache() { return std::max(std::int64_t(sysconf(_SC_LEVEL3_CACHE_SIZE)), std::int64_t(0)); }
#else
std::int64_t own_cache() { return 0; }
std::int64_t last_cache() { return 0; }
#endif

std::int64_t found(std::int64_t size, std::int64_t otherwise) { return size > 0 ? size : otherwise; }

}  // namespace

bool is_large(std::int64_t bytes) {
  static const std::int64_t limit = found(own_cache(), usual_own_cache);
  return bytes > limit;
}

bool is_huge(std::int64_t bytes) {
  static const std::int64_t limit = std::min(found(last_cache(), largest_last_cache), largest_last_cache);
  return bytes > limit;
}

}  // namespace ravine::memory
