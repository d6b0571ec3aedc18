#include "core/src/cpu_quota.hpp"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>

namespace ophis {
namespace {

using Path = std::filesystem::path;

/// Whole CPUs, or 0 for no limit: version 1 writes that as -1.
int whole_cpus(double quota_us, double period_us) {
  const double cpus = quota_us / period_us;
  return quota_us > 0.0 && period_us > 0.0 && cpus < 1e6 ? static_cast<int>(std::ceil(cpus)) : 0;
}

/// Of one group's folder: version 2 has cpu.max, "max 100000" or "150000 100000"; version 1 has two files.
int quota_of(const Path& group) {
  double quota = 0.0, period = 0.0;
  if (std::ifstream(group / "cpu.max") >> quota >> period) return whole_cpus(quota, period);
  if ((std::ifstream(group / "cpu.cfs_quota_us") >> quota) &&
      (std::ifstream(group / "cpu.cfs_period_us") >> period))
    return whole_cpus(quota, period);
  return 0;
}

/// A limit is a limit whichever group sets it. In a container the path is the host's, and the folders that
/// are there begin with the container's own at `mount`.
int smallest_quota(const Path& mount, Path group) {
  int smallest = quota_of(mount);
  for (; group.has_relative_path(); group = group.parent_path()) {
    const int quota = quota_of(mount / group.relative_path());
    if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
  }
  return smallest;
}

int cpus_of_affinity_mask() {
  cpu_set_t mask;
  // Fails on machines of more CPUs than the mask has bits.
  return ::sched_getaffinity(0, sizeof(mask), &mask) == 0
             ? CPU_COUNT(&mask)
             : static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int cpu_quota(const Path& root) {
  std::ifstream groups(root / "proc/self/cgroup");
  // A line is "hierarchy:controllers:path", with "0::path" in version 2.
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = line.substr(first, second - first + 1);
    std::replace(controllers.begin(), controllers.end(), ':', ',');
    const bool is_version2 = controllers == ",,";
    if (!is_version2 && controllers.find(",cpu,") == std::string::npos) continue;
    const Path mount = root / "sys/fs/cgroup" / (is_version2 ? "" : "cpu");
    if (const int quota = smallest_quota(mount, line.substr(second + 1))) return quota;
  }
  return 0;
}

int default_threads(const std::filesystem::path& root) {
  const int quota = cpu_quota(root);
  return quota < cpus_of_affinity_mask() ? quota : 0;
}

}  // namespace ophis
