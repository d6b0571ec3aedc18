#include "interfaces/python/src/context.hpp"

#include <bit>
#include <memory>
#include <vector>

namespace ophis::python {
namespace {

constexpr std::uintptr_t legacy_default_stream = 1;  // cudaStreamLegacy, hipStreamLegacy

struct Entry {
  std::uintptr_t stream;
  std::unique_ptr<ExecContext> exec;
};

}  // namespace

ExecContext& context_on(Device device, std::optional<std::uintptr_t> stream) {
  thread_local std::vector<Entry> contexts;
  std::uintptr_t wanted = 0;
  if (device.type != DeviceType::cpu) {
    wanted = stream.value_or(legacy_default_stream);
    if (wanted == 0) wanted = legacy_default_stream;
  }
  for (const Entry& entry : contexts) {
    if (entry.stream == wanted && entry.exec->device() == device) return *entry.exec;
  }
  auto exec = std::make_unique<ExecContext>(device, std::bit_cast<void*>(wanted));
  return *contexts.emplace_back(Entry{wanted, std::move(exec)}).exec;
}

}  // namespace ophis::python
