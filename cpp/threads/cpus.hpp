// How many CPUs this process may use.
#pragma once

#include <string>

namespace ravine::threads {

// The least of what the machine has, the process's affinity, and the quota of its control groups.
int cpus();

// The CPUs that the quotas of control groups leave to a process, 1 or more; without any quota, more than a machine has.
// `membership` is the text of its /proc/self/cgroup, `root` where control groups are mounted.
int cpus_by_quota(const std::string& membership, const std::string& root);

}  // namespace ravine::threads
