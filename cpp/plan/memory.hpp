// What is known of the machine's memory.
#pragma once

#include <cstdint>

namespace ravine::memory {

// Whether so many bytes do not stay in a core's own caches.
bool is_large(std::int64_t bytes);

// Whether so many bytes are better written to memory past the caches.
bool is_huge(std::int64_t bytes);

}  // namespace ravine::memory
