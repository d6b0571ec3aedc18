#include "ophis/core/device.hpp"

#include <charconv>

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
  if (type == "cuda" || type == "hip") {
    fail(ErrorCode::unsupported, "device '", name,
         "': this build has the cpu only; build with -DBACKEND=", type);
  }
  fail(ErrorCode::invalid_argument, "unknown device '", name, "'; known: cpu, cuda, cuda:N, hip, hip:N");
}

std::ostream& operator<<(std::ostream& out, Device device) {
  out << to_string(device.type);
  if (device.type != DeviceType::cpu) out << ':' << device.index;
  return out;
}

}  // namespace ophis
