#include "threads/threads.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace ravine::threads {
namespace {

void run_serial(const Work& work, int) {
  for (int part = 0; part < work.parts; ++part) work.task(work.context, part);
}

const Backend* const all[] = {&pool, &openmp, &serial};

std::atomic<const Backend*> current{&pool};
std::atomic<int> chosen{0};

int from_environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::max(0, std::atoi(text)) : 0;
}

int cpus() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return std::max(1, CPU_COUNT(&allowed));
#endif
  return std::max(1, int(std::thread::hardware_concurrency()));
}

int default_count() {
  for (const char* name : {"RAVINE_THREADS", "OMP_NUM_THREADS"})
    if (const int set = from_environment(name)) return set;
  return cpus();
}

}  // namespace

const Backend serial = {"off", run_serial};

std::vector<std::string> available() {
  std::vector<std::string> names;
  for (const Backend* backend : all)
    if (backend->run) names.emplace_back(backend->name);
  return names;
}

const Backend& active() { return *current.load(std::memory_order_relaxed); }

void use(const std::string& name) {
  std::string choices;
  for (const Backend* backend : all) {
    if (!backend->run) continue;
    if (name == backend->name) {
      current = backend;
      return;
    }
    choices += (choices.empty() ? "'" : ", '") + std::string(backend->name) + "'";
  }
  throw std::invalid_argument("no threading is called '" + name + "'; choose one of " + choices);
}

void use_environment() {
  const char* name = std::getenv("RAVINE_THREADING");
  if (!name || !*name) return;
  try {
    use(name);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("RAVINE_THREADING: ") + error.what() + ", or unset RAVINE_THREADING");
  }
}

int count() {
  static const int by_default = default_count();
  const int set = chosen.load(std::memory_order_relaxed);
  return set > 0 ? set : by_default;
}

void set_count(int threads) { chosen = threads; }

}  // namespace ravine::threads
