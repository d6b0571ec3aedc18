// ophis._core: the C++ library, as the modules written in Python use it.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "interfaces/python/src/array.hpp"
#include "interfaces/python/src/bindings.hpp"
#include "interfaces/python/src/ops.hpp"
#include "ophis/core/exec_context.hpp"
#include "ophis/ops/parity.hpp"

namespace ophis::python {
namespace {

using namespace nb::literals;

/// An uninitialised array of the library that `like` belongs to, on its device.
nb::object empty(nb::handle like, nb::handle shape, nb::handle dtype) {
  const Tensor model = to_array(like, "the first array", false).tensor;
  const Dims extents = shape.is_none() ? model.shape() : to_dims(shape);
  const DType type = dtype.is_none() ? model.dtype() : parse_dtype(nb::cast<std::string>(dtype));
  return to_python(OwnedTensor(type, extents, model.device()), library_of(like));
}

nb::tuple shape_of(nb::handle array) {
  const Array given = to_array(array, "array", false);
  nb::list extents;
  for (const std::int64_t extent : given.tensor.shape()) extents.append(extent);
  return nb::tuple(extents);
}

const char* dtype_of(nb::handle array) { return to_string(to_array(array, "array", false).tensor.dtype()); }

std::vector<std::string> devices() {
  std::vector<std::string> names;
  for (const Device device : available_devices()) names.push_back(detail::concat(device));
  return names;
}

void bind_ops(nb::module_ ops) {
  bind_activation(ops);
  bind_argmax(ops);
  bind_causal_conv1d(ops);
  bind_cross_entropy(ops);
  bind_cumsum(ops);
  bind_embedding(ops);
  bind_layer_norm(ops);
  bind_linear(ops);
  bind_mask_positions(ops);
  bind_norm_linear(ops);
  bind_quantized_linear(ops);
  bind_rms_norm(ops);
  bind_sample(ops);
  bind_selective_scan(ops);
  bind_softmax(ops);
  bind_ssd_scan(ops);
}

}  // namespace
}  // namespace ophis::python

NB_MODULE(_core, module) {
  using namespace ophis::python;
  module.doc() = "The C++ library behind the package ophis. Use the modules around it instead.";
  module.attr("__version__") = OPHIS_PROJECT_VERSION;
  module.attr("backend") = OPHIS_BUILD_BACKEND;
  bind_errors(module);
  module.def("devices", &devices, "The devices that can be used, the CPU first.");
  module.def("num_threads", &ophis::num_threads, "The number of CPU threads that ops use.");
  module.def("empty", &empty, "like"_a, "shape"_a.none() = nb::none(), "dtype"_a.none() = nb::none(),
             "An uninitialised array of like's library, on its device.");
  module.def("shape_of", &shape_of, "array"_a);
  module.def("dtype_of", &dtype_of, "array"_a);
  module.def("library_of", &library_of, "array"_a);
  bind_ops(module.def_submodule("ops"));
  bind_tokenizer(module);
  bind_model(module);
  bind_generation(module);
}
