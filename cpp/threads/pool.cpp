// Helper threads that take parts of the caller's work while it works too. The caller waits only for parts that a helper
// has begun: a helper that gets no core in time finds nothing left to do, and costs nothing. So work is never slower
// than on the caller's thread alone, whatever else keeps the cores busy.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "threads/floating_mode.hpp"
#include "threads/threads.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace ravine::threads {
namespace {

// How often a helper looks for new work before it sleeps: for some 20 microseconds without, then for some 100 with
// letting others run in between, which is what it takes to wake it.
constexpr int spins_before_sleep = 600;
constexpr int spins_without_yield = 400;

// Where it is not worth waking a helper, one is woken all the same, since it will be awake if the next piece of work
// follows at once. Each time that it was not, twice as many pieces go by until the next try, up to so many.
constexpr unsigned max_works_between_wakes = 1024;

// How often the caller looks whether the helpers are done before it lets others run.
constexpr int spins_before_yield = 2000;

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ __volatile__("yield");
#endif
}

#if defined(__linux__)
int current_cpu() { return sched_getcpu(); }

// Keeps the calling thread off a CPU. The scheduler likes to wake a thread where its waker runs, which here is the one
// place where it is of no use: the waker goes on working there.
void avoid_cpu(int cpu) {
  cpu_set_t allowed;
  if (sched_getaffinity(getpid(), sizeof allowed, &allowed) != 0) return;
  CPU_CLR(cpu, &allowed);
  if (CPU_COUNT(&allowed) > 0) sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
int current_cpu() { return -1; }
void avoid_cpu(int) {}
#endif

// A thread's parts [begin, end) of the work numbered `job`. Its owner takes the first, others steal the last, so each
// thread sees the same neighbouring parts in every step and they stay in its cache.
class Range {
 public:
  void reset(std::uint32_t job, int begin, int end) { bits_.store(pack(job, begin, end), std::memory_order_release); }

  // Returns a part of this job, or -1 where none is left.
  int take(std::uint32_t job, bool first) {
    std::uint64_t bits = bits_.load(std::memory_order_acquire);
    for (;;) {
      const int begin = int(bits >> 16 & 0xffff);
      const int end = int(bits & 0xffff);
      if (std::uint32_t(bits >> 32) != job || begin >= end) return -1;
      const std::uint64_t taken = first ? pack(job, begin + 1, end) : pack(job, begin, end - 1);
      if (bits_.compare_exchange_weak(bits, taken, std::memory_order_acq_rel)) return first ? begin : end - 1;
    }
  }

 private:
  static std::uint64_t pack(std::uint32_t job, int begin, int end) {
    return std::uint64_t(job) << 32 | std::uint64_t(begin) << 16 | std::uint64_t(end);
  }

  alignas(64) std::atomic<std::uint64_t> bits_{0};
};

class Pool {
 public:
  // Runs the work, or returns false where the pool is busy with another caller's, or no helper is awake.
  bool run(const Work& work, int threads) {
    const std::unique_lock<std::mutex> mine(caller_, std::try_to_lock);
    if (!mine) return false;
    if (!work.worth_waking && !is_time_to_wake()) return false;
    threads = std::min(threads, work.parts);
    start_helpers(threads - 1);

    // Nobody holds a part of the last job any more, so nobody reads these now.
    task_.store(work.task, std::memory_order_relaxed);
    context_.store(work.context, std::memory_order_relaxed);
    threads_.store(threads, std::memory_order_relaxed);
    mode_.store(floating_mode(), std::memory_order_relaxed);
    pending_.store(work.parts, std::memory_order_relaxed);
    caller_cpu_.store(current_cpu(), std::memory_order_relaxed);
    const std::uint32_t job = job_.load(std::memory_order_relaxed) + 1;
    for (int i = 0; i < threads; ++i)
      ranges_[i].reset(job, int(std::int64_t(work.parts) * i / threads),
                       int(std::int64_t(work.parts) * (i + 1) / threads));
    job_.store(job);
    if (sleepers_.load() > 0) {
      {
        const std::lock_guard<std::mutex> lock(sleep_);
      }
      wake_.notify_all();
    }

    work_on(job, 0);
    for (int spins = 0; pending_.load(std::memory_order_acquire) > 0; ++spins)
      spins < spins_before_yield ? pause() : std::this_thread::yield();
    return true;
  }

 private:
  // Whether a helper is awake, or one should be woken in the hope of more work soon.
  bool is_time_to_wake() {
    if (sleepers_.load(std::memory_order_relaxed) < helpers_) {
      works_between_wakes_ = 1;
      return true;
    }
    if (++works_asleep_ < works_between_wakes_) return false;
    works_asleep_ = 0;
    works_between_wakes_ = std::min(2 * works_between_wakes_, max_works_between_wakes);
    return true;
  }

  void start_helpers(int wanted) {
    for (; helpers_ < wanted; ++helpers_) {
      const std::uint32_t seen = job_.load(std::memory_order_relaxed);
      try {
        std::thread([this, self = helpers_ + 1, seen] { help(self, seen); }).detach();
      } catch (const std::system_error&) {
        return;  // the caller does the work of a helper that the system refuses
      }
    }
  }

  [[noreturn]] void help(int self, std::uint32_t seen) {
    for (;;) {
      seen = next_job(seen);
      const int cpu = current_cpu();
      if (cpu >= 0 && cpu == caller_cpu_.load(std::memory_order_relaxed)) avoid_cpu(cpu);
      work_on(seen, self);
    }
  }

  std::uint32_t next_job(std::uint32_t seen) {
    for (int spins = 0; spins < spins_before_sleep; ++spins) {
      if (const std::uint32_t job = job_.load(std::memory_order_acquire); job != seen) return job;
      spins < spins_without_yield ? pause() : std::this_thread::yield();
    }
    std::unique_lock<std::mutex> lock(sleep_);
    sleepers_ += 1;
    wake_.wait(lock, [&] { return job_.load() != seen; });
    sleepers_ -= 1;
    return job_.load();
  }

  void work_on(std::uint32_t job, int self) {
    const int threads = threads_.load(std::memory_order_relaxed);
    for (int i = 0; i < threads && self < threads; ++i) {
      Range& range = ranges_[(self + i) % threads];
      for (int part; (part = range.take(job, i == 0)) >= 0;) {
        // Whoever has taken a part reads what belongs to that part's job: the caller waits for it before the next.
        if (self > 0) follow(mode_.load(std::memory_order_relaxed));
        task_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), part);
        pending_.fetch_sub(1, std::memory_order_acq_rel);
      }
    }
  }

  std::mutex caller_;
  int helpers_ = 0;
  unsigned works_asleep_ = 0;
  unsigned works_between_wakes_ = 1;

  std::atomic<std::uint32_t> job_{0};
  std::atomic<void (*)(void*, int)> task_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int> threads_{0};
  std::atomic<FloatingMode> mode_{0};  // of the caller
  std::atomic<int> caller_cpu_{-1};
  alignas(64) std::atomic<int> pending_{0};
  Range ranges_[max_threads];

  std::mutex sleep_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
};

// Never destroyed: at exit the helpers still sleep in it. A forked child has none of the threads and starts another.
std::atomic<Pool*> instance{nullptr};

#if !defined(_WIN32)
const int registered = pthread_atfork(nullptr, nullptr, [] { instance = nullptr; });
#endif

Pool& the_pool() {
  Pool* pool = instance.load(std::memory_order_acquire);
  if (pool) return *pool;
  auto made = std::make_unique<Pool>();
  return instance.compare_exchange_strong(pool, made.get()) ? *made.release() : *pool;
}

void run_pool(const Work& work, int threads) {
  if (threads <= 1 || work.parts <= 1 || !the_pool().run(work, threads)) serial.run(work, 1);
}

}  // namespace

const Backend pool = {"pool", run_pool};

}  // namespace ravine::threads
