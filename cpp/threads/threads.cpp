#include "threads/threads.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "choice.hpp"
#include "threads/cpus.hpp"

namespace ravine::threads {
namespace {

void run_serial(const Work& work, int) {
  for (int part = 0; part < work.parts; ++part) work.task(work.context, part);
}

std::vector<const Backend*> backends() {
  std::vector<const Backend*> found = {&pool};
  if (openmp.run) found.push_back(&openmp);
  found.push_back(&serial);
  return found;
}

// Less than this is done by its caller alone.
constexpr std::int64_t bytes_worth_sharing = std::int64_t(3) << 18;

// Below this no sleeping thread is woken: that takes some 30 microseconds, and beside a BLAS whose threads still spin
// it gains less (bench/README.md says how to measure it).
std::atomic<std::int64_t> bytes_worth_waking{std::int64_t(1) << 23};

std::atomic<const Backend*> current{&pool};
std::atomic<int> chosen{0};
std::atomic<int> by_default{0};

int found() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  const int set = text ? std::atoi(text) : 0;
  return set > 0 ? std::min(set, cpus()) : cpus();
}

}  // namespace

const Backend serial = {"off", run_serial};

std::vector<std::string> available() { return names_of(backends()); }

const Backend& active() { return *current.load(std::memory_order_relaxed); }

void use(const std::string& name) { current = name == "auto" ? &pool : &choose("threading", backends(), name); }

int count() {
  if (const int set = chosen.load(std::memory_order_relaxed)) return set;
  if (const int set = by_default.load(std::memory_order_relaxed)) return set;
  return by_default = std::min(found(), max_threads);
}

void set_count(int threads) { chosen = std::min(threads, max_threads); }

Share share_of(std::int64_t bytes) {
  const std::int64_t waking = bytes_worth_waking.load(std::memory_order_relaxed);
  return {bytes < std::min(bytes_worth_sharing, waking) ? 1 : count(), bytes >= waking};
}

std::int64_t share_from(std::int64_t bytes) { return bytes_worth_waking.exchange(bytes); }

void use_count(const std::string& text) { by_default = std::min(whole_number(text, 1), max_threads); }

}  // namespace ravine::threads
