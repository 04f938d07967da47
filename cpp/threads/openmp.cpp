// One OpenMP region for each piece of work. Its closing barrier waits for threads that may have no core to run on, for
// instance beside a BLAS whose threads spin, and it never returns in a forked child: hence pool.cpp.
#include "threads/floating_mode.hpp"
#include "threads/threads.hpp"

#if defined(_OPENMP)

#include <algorithm>
#include <atomic>

#include <omp.h>
#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace ravine::threads {
namespace {

std::atomic<bool> forked{false};

#if !defined(_WIN32)
const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif

void run_region(const Work& work, int threads) {
  if (threads <= 1 || !work.worth_waking || forked) return serial.run(work, 1);
  const FloatingMode mode = floating_mode();
#pragma omp parallel num_threads(std::min(threads, work.parts))
  {
    const FloatingMode own = floating_mode();  // the threads are others' too
    follow(mode);
#pragma omp for schedule(static)
    for (int part = 0; part < work.parts; ++part) work.task(work.context, part);
    follow(own);
  }
}

}  // namespace

const Backend openmp = {"openmp", run_region};

}  // namespace ravine::threads

#else

const ravine::threads::Backend ravine::threads::openmp = {"openmp", nullptr};

#endif
