#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "interfaces/c/src/errors.hpp"
#include "interfaces/c/src/memory.hpp"
#include "ophis/core/cpu_isa.hpp"
#include "ophis/core/exec_context.hpp"
#include "ophis/ops/parity.hpp"

#define OPHIS_TEXT_OF(value) #value
#define OPHIS_TEXT(value) OPHIS_TEXT_OF(value)
#define OPHIS_VERSION_TEXT \
  OPHIS_TEXT(OPHIS_VERSION_MAJOR) "." OPHIS_TEXT(OPHIS_VERSION_MINOR) "." OPHIS_TEXT(OPHIS_VERSION_PATCH)

static_assert(std::string_view(OPHIS_VERSION_TEXT) == OPHIS_PROJECT_VERSION,
              "ophis.h and CMakeLists.txt disagree about the version");

using nlohmann::json;
using namespace ophis::c;

namespace {

json build_info() {
  json devices = json::array(), implementations = json::object();
  for (const ophis::Device device : ophis::available_devices()) {
    devices.push_back(ophis::detail::concat(device));
  }
  for (const std::string& op : ophis::parity_ops()) implementations[op] = ophis::implementation_names(op);
  return {{"version", OPHIS_VERSION_TEXT},
          {"backend", OPHIS_BUILD_BACKEND},
          {"compiler", OPHIS_BUILD_COMPILER},
          {"cpu_arch", OPHIS_BUILD_CPU_ARCH},
          {"cpu_isa", to_string(ophis::cpu_isa())},
          {"gpu_archs", OPHIS_BUILD_GPU_ARCHS},
          {"onednn", OPHIS_BUILD_ONEDNN == 1},
          {"threads", ophis::num_threads()},
          {"devices", devices},
          {"implementations", implementations}};
}

}  // namespace

int32_t ophis_version(void) { return OPHIS_VERSION; }
const char* ophis_version_string(void) { return OPHIS_VERSION_TEXT; }

ophis_status ophis_build_info(char** json_text) {
  return guarded(__func__, [&] {
    char*& result = require(json_text, "json");
    result = hand_over_text(build_info().dump());
  });
}

void ophis_free(void* memory) { std::free(memory); }
