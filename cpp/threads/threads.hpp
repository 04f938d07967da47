// How work is shared out among threads, whatever does it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace ravine::threads {

// No piece of work is given more threads than this.
constexpr int max_threads = 256;

// Work in parts: task(context, part) is called once for every part. Tasks must not throw.
struct Work {
  void (*task)(void* context, int part);
  void* context;
  int parts;
  bool worth_waking;  // whether it is large enough to wake a sleeping thread for it
};

// A way to run work on up to `threads` threads; returns when all parts are done.
struct Backend {
  const char* name;
  void (*run)(const Work& work, int threads);
};

extern const Backend pool;    // helper threads that the caller never waits for in vain
extern const Backend openmp;  // one parallel region; run is null where the build has no OpenMP
extern const Backend serial;  // the caller alone

// The names that can be used here, and the one in use; "auto" is the pool. Throws std::invalid_argument for another
// name.
std::vector<std::string> available();
const Backend& active();
void use(const std::string& name);

// How many threads a large piece of work is given.
int count();

// Sets it; 0 goes back to the default.
void set_count(int threads);

// Makes the number that `text` names the default, which is otherwise the CPUs that this process may use, or fewer where
// OMP_NUM_THREADS says so. Throws std::invalid_argument where it is no whole number, 1 or more.
void use_count(const std::string& text);

// How work on so many bytes of memory is to be shared.
struct Share {
  int threads;  // at the most
  bool worth_waking;
};
Share share_of(std::int64_t bytes);

// Shares work on so many bytes and more among threads; returns the number until now. For tests and measurements.
std::int64_t share_from(std::int64_t bytes);

// Calls function(part) for every part in [0, parts), neighbouring parts mostly on the same thread.
template <class Function>
void run(int parts, Share share, Function&& function) {
  if (share.threads == 1) {
    for (int part = 0; part < parts; ++part) function(part);
    return;
  }
  const auto call = [](void* context, int part) { (*static_cast<Function*>(context))(part); };
  active().run({call, &function, parts, share.worth_waking}, share.threads);
}

// Calls function(begin, end) for the parts of [0, count), of `per_part` each or more where there would be too many.
template <class Function>
void run_in_parts(std::int64_t count, std::int64_t per_part, Share share, Function&& function) {
  constexpr std::int64_t max_parts = 1 << 12;
  const std::int64_t parts = share.threads == 1 ? 1 : std::clamp(count / per_part, std::int64_t(1), max_parts);
  run(int(parts), share, [&](int part) { function(count * part / parts, count * (part + 1) / parts); });
}

}  // namespace ravine::threads
