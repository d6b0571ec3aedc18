#include "interfaces/python/src/array.hpp"

#include <nanobind/stl/string.h>

#include <array>
#include <memory>
#include <vector>

#include "interfaces/c/src/tensor.hpp"
#include "ophis/core/error.hpp"

namespace ophis::python {
namespace {

std::string name_of_type(nb::handle object) {
  const nb::handle type = object.type();
  return nb::cast<std::string>(type.attr("__module__")) + "." +
         nb::cast<std::string>(type.attr("__qualname__"));
}

nb::ndarray<nb::ro> import_array(nb::handle object, const char* name, bool is_written) {
  if (is_written) {
    nb::ndarray<> array;
    if (nb::try_cast(object, array)) return nb::ndarray<nb::ro>(array);
  }
  nb::ndarray<nb::ro> array;
  const bool readable = nb::try_cast(object, array);
  OPHIS_REQUIRE(!readable || !is_written, name, " is written to, but the given ", name_of_type(object),
                " is read-only");
  OPHIS_REQUIRE(
      readable, name, " is ", name_of_type(object),
      ", but must be an array: of numpy, torch, or another library that speaks DLPack (a torch tensor "
      "that requires grad must be detached)");
  return array;
}

template <class Framework>
nb::object export_as(const Tensor& tensor, nb::handle owner) {
  std::array<std::size_t, Dims::max_rank> shape{};
  for (int i = 0; i < tensor.rank(); ++i)
    shape[static_cast<std::size_t>(i)] = static_cast<std::size_t>(tensor.extent(i));
  const ophis_dtype dtype = c::from_dtype(tensor.dtype());
  const ophis_device device = c::from_device(tensor.device());
  return nb::cast(
      nb::ndarray<Framework>(tensor.raw(), static_cast<std::size_t>(tensor.rank()), shape.data(), owner,
                             tensor.strides().begin(), {dtype.code, dtype.bits, dtype.lanes},
                             device.device_type, device.device_id),
      nb::rv_policy::reference);
}

}  // namespace

Array to_array(nb::handle object, const char* name, bool is_written) {
  if (object.is_none()) return {};
  Array array{import_array(object, name, is_written), {}};
  const nb::ndarray<nb::ro>& owner = array.owner;
  const nb::dlpack::dtype dtype = owner.dtype();
  const ophis_tensor view{owner.data_handle(),
                          {owner.device_type(), owner.device_id()},
                          static_cast<std::int32_t>(owner.ndim()),
                          {dtype.code, dtype.bits, dtype.lanes},
                          owner.shape_ptr(),
                          owner.stride_ptr(),
                          owner.byte_offset()};
  try {
    array.tensor = c::to_tensor(&view);
  } catch (const Error& error) {
    fail(error.code(), name, ": ", error.what());
  }
  return array;
}

std::string library_of(nb::handle object) {
  const auto module = nb::cast<std::string>(object.type().attr("__module__"));
  std::string top = module.substr(0, module.find('.'));
  if (top == "numpy" || top == "torch" || top == "cupy") return top;
  return top == "jax" || top == "jaxlib" ? "jax" : "";
}

nb::object to_python(OwnedTensor tensor, const std::string& library) {
  auto held = std::make_unique<OwnedTensor>(std::move(tensor));
  const Tensor view = *held;
  const nb::capsule owner(held.get(),
                          [](void* memory) noexcept { delete static_cast<OwnedTensor*>(memory); });
  static_cast<void>(held.release());
  return to_python(view, owner, library);
}

nb::object to_python(const Tensor& tensor, nb::handle owner, const std::string& library) {
  if (library == "torch") return export_as<nb::pytorch>(tensor, owner);
  if (library == "jax") return export_as<nb::jax>(tensor, owner);
  if (library == "cupy") return export_as<nb::cupy>(tensor, owner);
  if (library.empty()) return export_as<nb::array_api>(tensor, owner);
  OPHIS_REQUIRE(library == "numpy", "the array library is '", library,
                "', but must be numpy, torch, jax or cupy");
  OPHIS_REQUIRE(tensor.dtype() != DType::bfloat16, "numpy has no dtype bfloat16");
  return export_as<nb::numpy>(tensor, owner);
}

Dims to_dims(nb::handle shape) {
  std::vector<std::int64_t> extents;
  for (const nb::handle extent : nb::iter(shape)) extents.push_back(nb::cast<std::int64_t>(extent));
  return Dims(extents);
}

}  // namespace ophis::python
