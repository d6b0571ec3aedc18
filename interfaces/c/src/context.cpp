#include "ophis/core/copy.hpp"

#include "interfaces/c/src/handles.hpp"
#include "interfaces/c/src/members.hpp"

using namespace ophis::c;

ophis_status ophis_initialize(int32_t num_threads) {
  return guarded(__func__, [&] {
    OPHIS_REQUIRE(num_threads >= 0, "num_threads is ", num_threads, ", but must not be negative");
    ophis::initialize({num_threads});
  });
}

ophis_status ophis_context_create(ophis_device device, void* native_stream, ophis_context** context) {
  return guarded(__func__, [&] {
    ophis_context*& result = require(context, "context");
    const ophis::Device on = to_device(device);
    OPHIS_REQUIRE(native_stream == nullptr || on.type != ophis::DeviceType::cpu,
                  "native_stream is given, but the cpu has none");
    result = new ophis_context{ophis::ExecContext(on, native_stream)};
  });
}

void ophis_context_destroy(ophis_context* context) { delete context; }

ophis_status ophis_context_synchronize(ophis_context* context) {
  return guarded(__func__, [&] { require(context, "context").exec.fence(); });
}

ophis_status ophis_context_device(const ophis_context* context, ophis_device* device) {
  return guarded(__func__,
                 [&] { require(device, "device") = from_device(require(context, "context").exec.device()); });
}

ophis_status ophis_context_native_stream(const ophis_context* context, void** native_stream) {
  return guarded(__func__, [&] {
    require(native_stream, "native_stream") = require(context, "context").exec.native_stream();
  });
}

ophis_status ophis_copy(ophis_context* context, const ophis_tensor* from, const ophis_tensor* to) {
  return guarded(__func__, [&] {
    ophis::Tensor source, target;
    convert_named("from", &require(from, "from"), source);
    convert_named("to", &require(to, "to"), target);
    ophis::copy(require(context, "context").exec, source, target);
  });
}
