#include "core/src/control_group.hpp"

#include <doctest/doctest.h>

#include <sched.h>

#include <fstream>
#include <string>
#include <thread>

#include "tests/support/temporary_folder.hpp"

using namespace ophis;
using ophis::test::TemporaryFolder;

namespace {

/// A root folder with the control group's files of a process.
class FakeRoot {
 public:
  void write(const char* name, const char* text) const {
    const std::filesystem::path path = m_folder.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  int quota() const { return cpu_quota(m_folder.path()); }
  std::uint64_t memory() const { return memory_limit(m_folder.path()); }
  int threads() const { return default_threads(m_folder.path()); }

 private:
  TemporaryFolder m_folder;
};

}  // namespace

TEST_CASE("a container's limit of CPUs is read, version 2") {
  const FakeRoot root;
  CHECK(root.quota() == 0);
  root.write("proc/self/cgroup", "0::/outer/inner\n");
  CHECK(root.quota() == 0);
  root.write("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  CHECK(root.quota() == 0);
  root.write("sys/fs/cgroup/outer/cpu.max", "350000 100000\n");
  CHECK(root.quota() == 4);
  root.write("sys/fs/cgroup/outer/inner/cpu.max", "200000 100000\n");
  CHECK(root.quota() == 2);
  root.write("sys/fs/cgroup/cpu.max", "10000 100000\n");
  CHECK(root.quota() == 1);
}

TEST_CASE("a container's limit of CPUs is read, version 1") {
  const FakeRoot root;
  // In a container the path is that of the host, where its folder is not.
  root.write("proc/self/cgroup", "5:memory:/docker/x\n4:cpuacct,cpu:/docker/x\n0::/\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  CHECK(root.quota() == 0);
  root.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n");
  CHECK(root.quota() == 2);
}

TEST_CASE("a container's limit of memory is read") {
  const FakeRoot root;
  root.write("proc/self/cgroup", "0::/outer/inner\n");
  CHECK(root.memory() == 0);
  root.write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  CHECK(root.memory() == 0);
  root.write("sys/fs/cgroup/outer/memory.max", "1073741824\n");
  CHECK(root.memory() == std::uint64_t{1} << 30);
  root.write("proc/self/cgroup", "5:memory:/docker/x\n4:cpuacct,cpu:/docker/x\n0::/\n");
  CHECK(root.memory() == 0);
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
  CHECK(root.memory() == 4096);
  CHECK(root.quota() == 0);
}

TEST_CASE("files of control groups that say nothing are no limit") {
  const FakeRoot root;
  root.write("proc/self/cgroup", "nonsense\n:\n::\n0::relative/../..\n");
  for (const char* const text :
       {"", "nonsense", "100000", "100000 0", "0 100000", "-5 100000", "1e300 1", "nan nan"}) {
    root.write("sys/fs/cgroup/cpu.max", text);
    CHECK_MESSAGE(root.quota() == 0, text);
  }
}

TEST_CASE("threads are as many as the container may use, unless the affinity mask allows fewer") {
  const FakeRoot root;
  root.write("proc/self/cgroup", "0::/\n");
  cpu_set_t mask;
  REQUIRE(sched_getaffinity(0, sizeof(mask), &mask) == 0);
  const int cpus = CPU_COUNT(&mask);
  CHECK(root.threads() == 0);  // no limit: OpenMP chooses
  const auto limit = [&](int quota) {
    root.write("sys/fs/cgroup/cpu.max", (std::to_string(quota) + "00000 100000").c_str());
  };
  limit(cpus + 1);
  CHECK(root.threads() == 0);
  limit(cpus);
  CHECK(root.threads() == 0);
  limit(1);
  CHECK(root.threads() == (cpus > 1 ? 1 : 0));
  int on_one_cpu = -1;
  std::thread([&] {
    int first = 0;
    while (!CPU_ISSET(first, &mask)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    limit(2);
    if (sched_setaffinity(0, sizeof(one), &one) == 0) on_one_cpu = root.threads();
  }).join();
  CHECK(on_one_cpu == 0);
}
