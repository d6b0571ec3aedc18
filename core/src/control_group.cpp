#include "core/src/control_group.hpp"

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

/// Version 2 has memory.max, "max" or a number; version 1 another file, with a huge number for no limit.
std::uint64_t memory_limit_of(const Path& group) {
  std::uint64_t bytes = 0;
  for (const char* const file : {"memory.max", "memory.limit_in_bytes"}) {
    if (std::ifstream(group / file) >> bytes) return bytes;
  }
  return 0;
}

/// A limit is a limit whichever group sets it. In a container the path is the host's, and the folders that
/// are there begin with the container's own at `mount`.
template <class LimitOf>
auto smallest_limit(const Path& mount, Path group, const LimitOf& limit_of) {
  auto smallest = limit_of(mount);
  for (; group.has_relative_path(); group = group.parent_path()) {
    const auto limit = limit_of(mount / group.relative_path());
    if (limit > 0 && (smallest == 0 || limit < smallest)) smallest = limit;
  }
  return smallest;
}

/// That of the groups that this process is in; 0 for none.
template <class LimitOf>
auto own_limit(const Path& root, const std::string& controller, const LimitOf& limit_of) {
  std::ifstream groups(root / "proc/self/cgroup");
  // A line is "hierarchy:controllers:path", with "0::path" in version 2.
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = line.substr(first, second - first + 1);
    std::replace(controllers.begin(), controllers.end(), ':', ',');
    const bool is_version2 = controllers == ",,";
    if (!is_version2 && controllers.find("," + controller + ",") == std::string::npos) continue;
    const Path mount = root / "sys/fs/cgroup" / (is_version2 ? "" : controller);
    if (const auto limit = smallest_limit(mount, line.substr(second + 1), limit_of)) return limit;
  }
  return decltype(limit_of(root)){};
}

int cpus_of_affinity_mask() {
  cpu_set_t mask;
  // Fails on machines of more CPUs than the mask has bits.
  return ::sched_getaffinity(0, sizeof(mask), &mask) == 0
             ? CPU_COUNT(&mask)
             : static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int cpu_quota(const Path& root) { return own_limit(root, "cpu", quota_of); }

std::uint64_t memory_limit(const Path& root) { return own_limit(root, "memory", memory_limit_of); }

int default_threads(const Path& root) {
  const int quota = cpu_quota(root);
  return quota < cpus_of_affinity_mask() ? quota : 0;
}

}  // namespace ophis
