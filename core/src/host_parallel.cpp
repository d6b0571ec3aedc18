#include "ophis/core/host_parallel.hpp"

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

}  // namespace

void for_each_on_host(std::int64_t count, const std::function<void(std::int64_t item, int thread)>& body) {
  initialize();
  const HostExecSpace space;
  for_each_item(space, "ophis::for_each_on_host", count,
                Item{body, ScratchSlots<HostExecSpace>(space, count)});
  space.fence("ophis::for_each_on_host");
}

}  // namespace ophis
