#include "ophis/core/device.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "core/src/control_group.hpp"
#include "core/src/gpu.hpp"
#include "ophis/core/error.hpp"

namespace ophis {

const char* to_string(DeviceType type) noexcept {
  switch (type) {
    case DeviceType::cpu:
      return "cpu";
    case DeviceType::cuda:
      return "cuda";
    case DeviceType::hip:
      return "hip";
  }
  return "unknown";
}

Device parse_device(std::string_view name) {
  const std::size_t colon = name.find(':');
  const std::string_view type = name.substr(0, colon);
  int index = 0;
  if (colon != std::string_view::npos) {
    const std::string_view digits = name.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    OPHIS_REQUIRE(error == std::errc() && end == digits.data() + digits.size() && index >= 0, "device '",
                  name, "': '", digits, "' is not a device number");
  }
  if (type == "cpu") {
    OPHIS_REQUIRE(index == 0, "device '", name, "': there is one cpu, number 0");
    return Device::cpu();
  }
  for (const DeviceType known : {DeviceType::cuda, DeviceType::hip}) {
    if (type != to_string(known)) continue;
    if (gpu::type() != known) {
      fail(ErrorCode::unsupported, "device '", name, "': this build has no ", type,
           "; build with -DBACKEND=", type);
    }
    return {known, index};
  }
  fail(ErrorCode::invalid_argument, "unknown device '", name, "'; known: cpu, cuda, cuda:N, hip, hip:N");
}

std::string why_unavailable(Device device) {
  if (device.type == DeviceType::cpu) return device.index == 0 ? "" : "there is one cpu, number 0";
  if (device.type != gpu::type()) return detail::concat("this build has no ", to_string(device.type));
  return gpu::why_not(device.index);
}

void require_available(Device device) {
  const std::string reason = why_unavailable(device);
  if (!reason.empty()) fail(ErrorCode::unsupported, "device ", device, " cannot be used: ", reason);
}

std::uint64_t host_memory() {
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  const std::uint64_t machine = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t limit = memory_limit();
  return limit > 0 ? std::min(machine, limit) : machine;
}

std::vector<Device> available_devices() {
  std::vector<Device> devices{Device::cpu()};
  for (int index = 0; index < gpu::count(); ++index) {
    if (gpu::why_not(index).empty()) devices.push_back({gpu::type(), index});
  }
  return devices;
}

std::ostream& operator<<(std::ostream& out, Device device) {
  out << to_string(device.type);
  if (device.type != DeviceType::cpu) out << ':' << device.index;
  return out;
}

}  // namespace ophis
