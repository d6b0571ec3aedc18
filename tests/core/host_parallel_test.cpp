#include "ophis/core/host_parallel.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

#include "ophis/core/buffer.hpp"
#include "ophis/core/exec_context.hpp"

using namespace ophis;

TEST_CASE("loops over the CPU's threads reach every index once") {
  for (const std::int64_t count : {0, 1, 2, 3, 7, 1000}) {
    CAPTURE(count);
    std::vector<std::atomic<int>> items(static_cast<std::size_t>(count)), ranges(items.size());
    for_each_on_host(count, [&](std::int64_t i, int thread) {
      if (thread >= 0 && thread < num_threads()) ++items[static_cast<std::size_t>(i)];
    });
    std::atomic<int> calls{0};
    for_ranges_on_host(count, [&](std::int64_t begin, std::int64_t end) {
      ++calls;
      for (std::int64_t i = begin; i < end; ++i) ++ranges[static_cast<std::size_t>(i)];
    });
    CHECK(calls <= num_threads());
    for (std::size_t i = 0; i < items.size(); ++i) {
      REQUIRE(items[i] == 1);
      REQUIRE(ranges[i] == 1);
    }
  }
}

TEST_CASE("memory of the CPU of any size can be written from end to end") {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{1} << 21, (std::size_t{5} << 20) + 3}) {
    CAPTURE(bytes);
    const Buffer buffer(bytes, Device::cpu());
    auto* const data = static_cast<unsigned char*>(buffer.data());
    CHECK(reinterpret_cast<std::uintptr_t>(data) % 64 == 0);
    for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<unsigned char>(i % 251);
    CHECK(data[bytes - 1] == (bytes - 1) % 251);
  }
}

TEST_CASE("threads without work sleep") {
  const auto cpu_seconds = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
  const auto sleep = [](int milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  };
  for_each_on_host(1000, [](std::int64_t, int) {});
  sleep(300);  // LLVM's runtime waits actively for 200 ms
  const double before = cpu_seconds();
  sleep(200);
  CHECK(cpu_seconds() - before < 0.05);
}
