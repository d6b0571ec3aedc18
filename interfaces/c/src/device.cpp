#include "ophis/core/device.hpp"

#include <algorithm>

#include "interfaces/c/src/errors.hpp"
#include "interfaces/c/src/tensor.hpp"
#include "ophis/core/buffer.hpp"

using namespace ophis::c;

namespace {

/// A tensor that owns its memory, as its caller sees it.
class CreatedTensor final : public TensorView {
 public:
  explicit CreatedTensor(ophis::OwnedTensor memory) : TensorView(memory), m_memory(std::move(memory)) {}

 private:
  ophis::OwnedTensor m_memory;
};

}  // namespace

ophis_status ophis_device_parse(const char* name, ophis_device* device) {
  return guarded(__func__, [&] {
    require(device, "device") = from_device(ophis::parse_device(&require(name, "name")));
  });
}

ophis_status ophis_device_check(ophis_device device) {
  return guarded(__func__, [&] { ophis::require_available(to_device(device)); });
}

ophis_status ophis_device_list(ophis_device* devices, size_t capacity, size_t* count) {
  return guarded(__func__, [&] {
    if (capacity > 0) require(devices, "devices");
    const std::vector<ophis::Device> usable = ophis::available_devices();
    require(count, "count") = usable.size();
    std::transform(usable.begin(),
                   usable.begin() + static_cast<std::ptrdiff_t>(std::min(capacity, usable.size())), devices,
                   from_device);
  });
}

ophis_status ophis_dtype_parse(const char* name, ophis_dtype* dtype) {
  return guarded(__func__,
                 [&] { require(dtype, "dtype") = from_dtype(ophis::parse_dtype(&require(name, "name"))); });
}

ophis_status ophis_tensor_create(ophis_device device, ophis_dtype dtype, int32_t ndim, const int64_t* shape,
                                 ophis_tensor** tensor) {
  return guarded(__func__, [&] {
    ophis_tensor*& result = require(tensor, "tensor");
    result = new CreatedTensor(ophis::OwnedTensor(to_dtype(dtype), to_dims(shape, ndim), to_device(device)));
  });
}

void ophis_tensor_destroy(ophis_tensor* tensor) { delete static_cast<CreatedTensor*>(tensor); }
