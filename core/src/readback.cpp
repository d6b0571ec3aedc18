#include "ophis/core/readback.hpp"

#include <cstring>
#include <vector>

#include "core/src/gpu.hpp"
#include "ophis/core/copy.hpp"

namespace ophis {

struct Readback::Impl {
  struct Slot {
    Buffer memory;           // on the CPU, or
    void* pinned = nullptr;  // page-locked, with the event that says it is there
    gpu::Event arrived = nullptr;
  };

  Impl(ExecContext& on, const Tensor& what, int depth)
      : exec(on), source(what), slots(static_cast<std::size_t>(depth)) {
    for (Slot& slot : slots) {
      if (is_gpu()) {
        slot.pinned = gpu::allocate_pinned(source.bytes());
        slot.arrived = gpu::create_event(exec.device().index);
      } else {
        slot.memory = Buffer(source.bytes());
      }
    }
  }
  ~Impl() {
    for (const Slot& slot : slots) {
      if (slot.arrived) gpu::destroy_event(slot.arrived);
      if (slot.pinned) gpu::free_pinned(slot.pinned);
    }
  }

  bool is_gpu() const { return exec.device().type != DeviceType::cpu; }
  Slot& slot(std::uint64_t number) { return slots[number % slots.size()]; }

  ExecContext& exec;
  Tensor source;
  std::vector<Slot> slots;
  std::uint64_t posted = 0, taken = 0;
};

Readback::Readback(ExecContext& exec, const Tensor& source, int depth) {
  OPHIS_REQUIRE(depth >= 1 && source.is_contiguous() && source.device() == exec.device(),
                "Readback: depth is ", depth, " and the source is ", source, " on ", source.device(),
                ", but it must be dense and on the context's device, and depth at least 1");
  m_impl = std::make_unique<Impl>(exec, source, depth);
}
Readback::~Readback() = default;
Readback::Readback(Readback&&) noexcept = default;
Readback& Readback::operator=(Readback&&) noexcept = default;

void Readback::post() {
  Impl& impl = *m_impl;
  OPHIS_REQUIRE(impl.posted - impl.taken < impl.slots.size(), "Readback: ", impl.slots.size(),
                " posts are waiting to be taken already");
  Impl::Slot& slot = impl.slot(impl.posted++);
  if (impl.is_gpu()) {
    const int index = impl.exec.device().index;
    gpu::copy(slot.pinned, impl.source.raw(), impl.source.bytes(), impl.exec.native_stream(), index);
    gpu::record(slot.arrived, impl.exec.native_stream(), index);
  } else {
    impl.exec.fence();
    std::memcpy(slot.memory.data(), impl.source.raw(), impl.source.bytes());
  }
}

Tensor Readback::take() {
  Impl& impl = *m_impl;
  OPHIS_REQUIRE(impl.taken < impl.posted, "Readback: nothing has been posted");
  Impl::Slot& slot = impl.slot(impl.taken++);
  if (impl.is_gpu()) gpu::wait(slot.arrived, impl.exec.device().index);
  void* const data = impl.is_gpu() ? slot.pinned : slot.memory.data();
  return Tensor(data, impl.source.dtype(), impl.source.shape());
}

}  // namespace ophis
