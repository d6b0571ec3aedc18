#include "interfaces/python/src/context.hpp"

#include <bit>
#include <memory>
#include <vector>

namespace ophis::python {
namespace {

constexpr std::uintptr_t legacy_default_stream = 1;  // cudaStreamLegacy, hipStreamLegacy

constexpr std::uintptr_t own_stream = 0;

struct Entry {
  std::uintptr_t stream;
  std::unique_ptr<ExecContext> exec;
};

ExecContext& kept_context(Device device, std::uintptr_t stream) {
  thread_local std::vector<Entry> contexts;
  for (const Entry& entry : contexts) {
    if (entry.stream == stream && entry.exec->device() == device) return *entry.exec;
  }
  auto exec = std::make_unique<ExecContext>(device, std::bit_cast<void*>(stream));
  return *contexts.emplace_back(Entry{stream, std::move(exec)}).exec;
}

}  // namespace

ExecContext& context_on(Device device, std::optional<std::uintptr_t> stream) {
  if (device.type == DeviceType::cpu) return own_context(device);
  return kept_context(device, stream.value_or(0) == 0 ? legacy_default_stream : *stream);
}

ExecContext& own_context(Device device) { return kept_context(device, own_stream); }

}  // namespace ophis::python
