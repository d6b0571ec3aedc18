// What control groups (Linux, version 1 or 2), such as a container's, leave this process of the machine.
// `root` is "/" but in tests.
#pragma once

#include <cstdint>
#include <filesystem>

namespace ophis {

/// The CPU time that this process's group and those around it may use, in whole CPUs, rounded up; 0 if they
/// have no limit. OpenMP knows nothing of it: in a container limited to two CPUs of sixty-four it starts
/// sixty-four threads, which then wait for each other.
int cpu_quota(const std::filesystem::path& root = "/");

/// The memory that they may use, in bytes; 0 if they have no limit.
std::uint64_t memory_limit(const std::filesystem::path& root = "/");

/// The threads to start where nobody says how many: the quota, if that is less than the CPUs of the affinity
/// mask; 0 to leave it to OpenMP, which knows the mask.
int default_threads(const std::filesystem::path& root = "/");

}  // namespace ophis
