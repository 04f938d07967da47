// What is known of the machine's memory, and of how its processor reads it.
#pragma once

#include <cstdint>
#include <string>

namespace ravine::memory {

// Whether so many bytes do not stay in a core's own caches.
bool is_large(std::int64_t bytes);

// Whether so many bytes are better written to memory past the caches.
bool is_huge(std::int64_t bytes);

// How many bytes before their turn an update asks for its arrays' elements; 0: not at all, since the processor's own
// guesses do better.
std::int32_t update_ahead();

// Sets it; `text` must be a whole number, or std::invalid_argument is thrown.
void set_update_ahead(std::int32_t bytes);
void use_update_ahead(const std::string& text);

}  // namespace ravine::memory
