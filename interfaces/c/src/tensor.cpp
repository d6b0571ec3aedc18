#include "interfaces/c/src/tensor.hpp"

#include <cstddef>
#include <cstdlib>
#include <limits>

namespace ophis::c {
namespace {

// Where DLPack's DLTensor has its members, on a machine with pointers of 64 bits.
static_assert(sizeof(ophis_device) == 8 && sizeof(ophis_dtype) == 4);
static_assert(offsetof(ophis_dtype, bits) == 1 && offsetof(ophis_dtype, lanes) == 2);
static_assert(offsetof(ophis_tensor, device) == 8 && offsetof(ophis_tensor, ndim) == 16 &&
              offsetof(ophis_tensor, dtype) == 20 && offsetof(ophis_tensor, shape) == 24 &&
              offsetof(ophis_tensor, strides) == 32 && offsetof(ophis_tensor, byte_offset) == 40 &&
              sizeof(ophis_tensor) == 48);

struct DTypeName {
  DType dtype;
  ophis_dtype code;
};

constexpr DTypeName dtypes[] = {
    {DType::float32, {OPHIS_CODE_FLOAT, 32, 1}}, {DType::bfloat16, {OPHIS_CODE_BFLOAT, 16, 1}},
    {DType::float16, {OPHIS_CODE_FLOAT, 16, 1}}, {DType::float64, {OPHIS_CODE_FLOAT, 64, 1}},
    {DType::int64, {OPHIS_CODE_INT, 64, 1}},     {DType::int32, {OPHIS_CODE_INT, 32, 1}},
    {DType::int16, {OPHIS_CODE_INT, 16, 1}},     {DType::int8, {OPHIS_CODE_INT, 8, 1}},
    {DType::uint8, {OPHIS_CODE_UINT, 8, 1}},     {DType::boolean, {OPHIS_CODE_BOOL, 8, 1}},
};

DeviceType to_device_type(std::int32_t type) {
  switch (type) {
    case OPHIS_DEVICE_CPU:
    case OPHIS_DEVICE_CUDA_HOST:
      return DeviceType::cpu;
    case OPHIS_DEVICE_CUDA:
      return DeviceType::cuda;
    case OPHIS_DEVICE_ROCM:
      return DeviceType::hip;
    default:
      fail(ErrorCode::invalid_argument, "device_type is ", type,
           ", but must be 1 (CPU), 2 (CUDA), 3 (page-locked memory of the host) or 10 (ROCm)");
  }
}

/// Checks that the distances between elements can be counted, whichever way the strides go.
void check_reach(const Dims& shape, const Dims& strides) {
  std::int64_t reach = 0;
  for (int i = 0; i < shape.size(); ++i) {
    std::int64_t way = 0;
    const bool fits = !__builtin_mul_overflow(shape[i] - 1, strides[i], &way) &&
                      way != std::numeric_limits<std::int64_t>::min() &&
                      !__builtin_add_overflow(reach, std::abs(way), &reach);
    OPHIS_REQUIRE(fits && reach <= std::numeric_limits<std::int64_t>::max() / 16, "shape ", shape,
                  " with strides ", strides, " reaches beyond the address space");
  }
}

/// The address of the first element.
void* first_element(const ophis_tensor& tensor, DType dtype) {
  const auto begin = reinterpret_cast<std::uintptr_t>(tensor.data);
  OPHIS_REQUIRE(tensor.byte_offset <= std::numeric_limits<std::uintptr_t>::max() - begin, "byte_offset ",
                tensor.byte_offset, " reaches beyond the address space");
  OPHIS_REQUIRE((begin + tensor.byte_offset) % size_of(dtype) == 0,
                "data + byte_offset is no multiple of the ", size_of(dtype), " bytes of ", dtype);
  return static_cast<char*>(tensor.data) + tensor.byte_offset;
}

}  // namespace

Device to_device(ophis_device device) {
  const DeviceType type = to_device_type(device.device_type);
  if (device.device_type == OPHIS_DEVICE_CUDA_HOST) return Device::cpu();
  OPHIS_REQUIRE(device.device_id >= 0, "device_id is ", device.device_id, ", but must not be negative");
  OPHIS_REQUIRE(type != DeviceType::cpu || device.device_id == 0, "device_id is ", device.device_id,
                ", but there is one cpu, number 0");
  return {type, device.device_id};
}

ophis_device from_device(Device device) {
  switch (device.type) {
    case DeviceType::cuda:
      return {OPHIS_DEVICE_CUDA, device.index};
    case DeviceType::hip:
      return {OPHIS_DEVICE_ROCM, device.index};
    default:
      return {OPHIS_DEVICE_CPU, 0};
  }
}

DType to_dtype(ophis_dtype dtype) {
  for (const DTypeName& known : dtypes) {
    const ophis_dtype& code = known.code;
    if (code.code == dtype.code && code.bits == dtype.bits && code.lanes == dtype.lanes) return known.dtype;
  }
  fail(ErrorCode::invalid_argument, "dtype has code ", int{dtype.code}, ", ", int{dtype.bits}, " bits and ",
       dtype.lanes,
       " lanes, but must be 1 lane of int (code 0) with 8, 16, 32 or 64 bits, uint (1) with 8, "
       "float (2) with 16, 32 or 64, bfloat (4) with 16 or bool (6) with 8");
}

ophis_dtype from_dtype(DType dtype) {
  for (const DTypeName& known : dtypes) {
    if (known.dtype == dtype) return known.code;
  }
  fail(ErrorCode::internal, "dtype ", dtype, " has no code of DLPack's");
}

Dims to_dims(const std::int64_t* values, std::int32_t ndim) {
  OPHIS_REQUIRE(ndim >= 0 && ndim <= Dims::max_rank, "ndim is ", ndim, ", but must be 0 to ", Dims::max_rank);
  OPHIS_REQUIRE(values != nullptr || ndim == 0, "shape is NULL, but ndim is ", ndim);
  return Dims(std::span(values, static_cast<std::size_t>(ndim)));
}

Tensor to_tensor(const ophis_tensor* tensor) {
  if (tensor == nullptr) return {};
  const Dims shape = to_dims(tensor->shape, tensor->ndim);
  const DType dtype = to_dtype(tensor->dtype);
  const Device device = to_device(tensor->device);
  const std::int64_t count = element_count(shape);
  const Dims strides = tensor->strides ? to_dims(tensor->strides, tensor->ndim) : contiguous_strides(shape);
  if (count == 0) return Tensor(tensor->data, dtype, shape, strides, device);
  OPHIS_REQUIRE(tensor->data != nullptr, "data is NULL, but the shape is ", shape);
  check_reach(shape, strides);
  return Tensor(first_element(*tensor, dtype), dtype, shape, strides, device);
}

TensorView::TensorView(const Tensor& tensor)
    : ophis_tensor{tensor.raw(),
                   from_device(tensor.device()),
                   tensor.rank(),
                   from_dtype(tensor.dtype()),
                   nullptr,
                   nullptr,
                   0},
      m_shape(tensor.shape()),
      m_strides(tensor.strides()) {
  shape = m_shape.begin();
  strides = m_strides.begin();
}

}  // namespace ophis::c
