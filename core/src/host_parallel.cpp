#include "ophis/core/host_parallel.hpp"

#include <algorithm>

#include "ophis/core/kokkos.hpp"

namespace ophis {
namespace {

struct Item {
  const std::function<void(std::int64_t, int)>& body;
  ScratchSlots<HostExecSpace> threads;

  void operator()(std::int64_t item) const {
    const std::int64_t thread = threads.acquire(item);
    body(item, static_cast<int>(thread));
    threads.release(thread);
  }
};

struct Range {
  const std::function<void(std::int64_t, std::int64_t)>& body;
  std::int64_t count, ranges;

  void operator()(std::int64_t i) const { body(count * i / ranges, count * (i + 1) / ranges); }
};

}  // namespace

void for_each_on_host(std::int64_t count, const std::function<void(std::int64_t item, int thread)>& body) {
  initialize();
  const HostExecSpace space;
  for_each_item(space, "ophis::for_each_on_host", count,
                Item{body, ScratchSlots<HostExecSpace>(space, count)});
  space.fence("ophis::for_each_on_host");
}

void for_ranges_on_host(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
  initialize();
  const HostExecSpace space;
  const std::int64_t ranges = std::min<std::int64_t>(count, num_threads());
  for_each_element(space, "ophis::for_ranges_on_host", ranges, Range{body, count, ranges});
  space.fence("ophis::for_ranges_on_host");
}

}  // namespace ophis
