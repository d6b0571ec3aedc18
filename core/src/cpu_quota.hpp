// How many of the machine's CPUs this process may use.
#pragma once

#include <filesystem>

namespace ophis {

/// The CPU time that this process's control group (Linux, version 1 or 2) and those around it may use, in
/// whole CPUs, rounded up; 0 if they have no limit. OpenMP knows nothing of it: in a container limited to two
/// CPUs of sixty-four it starts sixty-four threads, which then wait for each other. `root` is "/" but in
/// tests.
int cpu_quota(const std::filesystem::path& root = "/");

/// The threads to start where nobody says how many: the quota, if that is less than the CPUs of the affinity
/// mask; 0 to leave it to OpenMP, which knows the mask.
int default_threads(const std::filesystem::path& root = "/");

}  // namespace ophis
