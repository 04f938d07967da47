// Stores that go to memory past the caches: for results so large that they would not stay there, where a usual store
// would first read what it overwrites.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX__) || defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace ravine {
namespace {  // see rules/rules.hpp

#if defined(__AVX512F__)
using StreamVector = __m512i;
inline void stream_one(void* to, const void* from) {
  _mm512_stream_si512(static_cast<StreamVector*>(to), _mm512_loadu_si512(from));
}
#elif defined(__AVX__)
using StreamVector = __m256i;
inline void stream_one(void* to, const void* from) {
  _mm256_stream_si256(static_cast<StreamVector*>(to), _mm256_loadu_si256(static_cast<const StreamVector*>(from)));
}
#elif defined(__SSE2__) || defined(_M_X64)
using StreamVector = __m128i;
inline void stream_one(void* to, const void* from) {
  _mm_stream_si128(static_cast<StreamVector*>(to), _mm_loadu_si128(static_cast<const StreamVector*>(from)));
}
#endif

#if defined(__SSE2__) || defined(_M_X64)
constexpr bool can_stream = true;

inline void stream_line(void* to, const void* from) {
  for (std::size_t k = 0; k < 64; k += sizeof(StreamVector))
    stream_one(static_cast<char*>(to) + k, static_cast<const char*>(from) + k);
}

// Makes streamed bytes visible to whoever learns later that they are there.
inline void finish_streaming() { _mm_sfence(); }
#else
constexpr bool can_stream = false;
inline void stream_line(void* to, const void* from) { std::memcpy(to, from, 64); }
inline void finish_streaming() {}
#endif

// Streams elements to where they belong, a whole cache line at a time.
template <class V>
class Streamer {
 public:
  static constexpr std::int64_t piece = 1024;

  explicit Streamer(V* to) : to_(to) {}

  // Room for the next elements, up to `piece` of them, and the word that so many have been written there.
  V* room() { return buffer_ + pending_; }
  void wrote(std::int64_t count) {
    const std::int64_t n = pending_ + count;
    const auto misfit = std::int64_t(reinterpret_cast<std::uintptr_t>(to_) % 64 / sizeof(V));
    std::int64_t i = misfit == 0 ? 0 : line - misfit < n ? line - misfit : n;
    for (std::int64_t k = 0; k < i; ++k) to_[k] = buffer_[k];
    for (; i + line <= n; i += line) stream_line(to_ + i, buffer_ + i);
    to_ += i;
    pending_ = n - i;
    for (std::int64_t k = 0; k < pending_; ++k) buffer_[k] = buffer_[i + k];
  }

  void finish() {
    for (std::int64_t k = 0; k < pending_; ++k) to_[k] = buffer_[k];
  }

 private:
  static constexpr std::int64_t line = 64 / sizeof(V);
  V* to_;
  std::int64_t pending_ = 0;
  alignas(64) V buffer_[piece + line];
};

// Calls compute(begin, end, targets...) with room for the elements [begin, end) of each output, until all n are
// written: the outputs themselves, or buffers that are then streamed into them. `begin` is a multiple of the lanes.
template <class V, class Compute, class... Outputs>
inline void write(std::int64_t n, bool streaming, const Compute& compute, V* output, Outputs*... outputs) {
  if (!can_stream || !streaming) {
    compute(std::int64_t(0), n, output, outputs...);
    return;
  }
  const auto stream = [n, &compute](auto&&... streamers) {
    for (std::int64_t begin = 0; begin < n; begin += Streamer<V>::piece) {
      const std::int64_t end = begin + Streamer<V>::piece < n ? begin + Streamer<V>::piece : n;
      compute(begin, end, streamers.room()...);
      (streamers.wrote(end - begin), ...);
    }
    (streamers.finish(), ...);
  };
  stream(Streamer<V>(output), Streamer<V>(outputs)...);
}

}  // namespace
}  // namespace ravine
