// Where memory lives and work runs.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace ophis {

/// Kinds of devices. Which of them a build can use, available_devices() tells.
enum class DeviceType : std::uint8_t { cpu, cuda, hip };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;

  static constexpr Device cpu() { return {}; }
  friend constexpr bool operator==(const Device&, const Device&) = default;
};

/// "cpu", "cuda" or "hip".
const char* to_string(DeviceType type) noexcept;

/// "cpu", "cuda", "cuda:1", "hip". Throws Error(invalid_argument) on anything else, Error(unsupported) on a
/// device type that this build does not contain.
Device parse_device(std::string_view name);

/// Why a device cannot be used, for a message; empty if it can.
std::string why_unavailable(Device device);
/// Throws Error(unsupported) unless the device can be used.
void require_available(Device device);
/// The devices that can be used, the CPU first.
std::vector<Device> available_devices();

/// Bytes of the host's memory that this process may use: the machine's, or a container's if it has a limit.
std::uint64_t host_memory();

std::ostream& operator<<(std::ostream& out, Device device);

}  // namespace ophis
