#include "threads/threads.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(_OPENMP) && !defined(_WIN32)
#include <pthread.h>
#endif

namespace ravine::threads {
namespace {

int from_environment() {
  const char* text = std::getenv("RAVINE_THREADS");
  return text ? std::max(0, std::atoi(text)) : 0;
}

std::atomic<int> chosen{from_environment()};

}  // namespace

#if defined(_OPENMP)

namespace {

// OpenMP's threads do not survive a fork: a region entered by the child would wait for them for ever.
std::atomic<bool> forked{false};

#if !defined(_WIN32)
const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif

int offered() { return omp_get_max_threads(); }

}  // namespace

const char* backend() { return "openmp"; }

void run(int parts, Task task, void* context) {
  if (parts <= 1 || forked) {
    for (int part = 0; part < parts; ++part) task(context, part);
    return;
  }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
  for (int part = 0; part < parts; ++part) task(context, part);
}

#else

namespace {
int offered() { return 1; }
}  // namespace

const char* backend() { return "none"; }

void run(int parts, Task task, void* context) {
  for (int part = 0; part < parts; ++part) task(context, part);
}

#endif

int count() {
  const int set = chosen;
  return set > 0 ? set : offered();
}

void set_count(int threads) { chosen = threads > 0 ? threads : from_environment(); }

}  // namespace ravine::threads
