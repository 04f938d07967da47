#include "threads/cpus.hpp"

#include <algorithm>
#include <climits>
#include <fstream>
#include <sstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace ravine::threads {
namespace {

// A CPU is counted where a group may use all of it: a part of one would only stop all threads for the rest of a period.
int whole_cpus(double quota, double period) {
  return quota > 0 && period > 0 ? std::max(1, int(quota / period)) : INT_MAX;
}

// The first words of a file, each a number, or "max" for none; 0 where there is no number.
double number_in(std::istream& file) {
  std::string word;
  file >> word;
  return word.find_first_not_of("0123456789") == std::string::npos && !word.empty() ? std::stod(word) : 0;
}

// Version 2 has both numbers in one file, version 1 in two.
int quota_of(const std::string& folder, bool unified) {
  if (unified) {
    std::ifstream file(folder + "/cpu.max");
    const double quota = number_in(file);
    return whole_cpus(quota, number_in(file));
  }
  std::ifstream quota(folder + "/cpu.cfs_quota_us"), period(folder + "/cpu.cfs_period_us");
  return whole_cpus(number_in(quota), number_in(period));
}

}  // namespace

int cpus_by_quota(const std::string& membership, const std::string& root) {
  int least = INT_MAX;
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // number:controllers:path
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool unified = controllers == ",,";
    if (!unified && controllers.find(",cpu,") == std::string::npos) continue;
    const std::string mount = unified ? root : root + "/" + line.substr(first + 1, second - first - 1);
    // A group has no more than those around it. A container may not see the outer part of its path.
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      least = std::min(least, quota_of(mount + path, unified));
      if (path.find('/') == std::string::npos) break;
    }
  }
  return least;
}

int cpus() {
  int least = std::max(1, int(std::thread::hardware_concurrency()));
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) least = std::max(1, CPU_COUNT(&allowed));
  std::ifstream file("/proc/self/cgroup");
  std::stringstream membership;
  membership << file.rdbuf();
  least = std::min(least, cpus_by_quota(membership.str(), "/sys/fs/cgroup"));
#endif
  return least;
}

}  // namespace ravine::threads
