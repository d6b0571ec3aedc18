#include "ophis/ops/linear.hpp"

#include "ops/common/check.hpp"
#include "ops/linear/linear_impl.hpp"

namespace ophis {
namespace {

/// A tensor (rows..., features) as (rows, features), so that its rows have one leading dimension.
Tensor as_matrix(const char* name, const Tensor& tensor) {
  OPHIS_REQUIRE(tensor.rank() >= 1, "linear: ", name, " is ", tensor, ", but must have at least 1 axis");
  const std::int64_t features = tensor.extent(-1);
  OPHIS_REQUIRE(features <= 1 || tensor.stride(-1) == 1, "linear: the last axis of ", name,
                " must be dense, but its stride is ", tensor.stride(-1));
  const std::int64_t rows = features == 0 ? 0 : tensor.count() / features;
  try {
    return tensor.reshape({rows, features});
  } catch (const Error&) {
    fail(ErrorCode::invalid_argument, "linear: the rows of ", name, " are not evenly spaced: shape ",
         tensor.shape(), ", strides ", tensor.strides());
  }
}

}  // namespace

LinearShape linear_shape(const LinearArgs& args) {
  const Tensor x = as_matrix("x", args.x), out = as_matrix("out", args.out);
  return {x.extent(0), x.extent(1), out.extent(1), x.stride(0), args.weight.stride(0), out.stride(0)};
}

void linear(ExecContext& exec, const LinearArgs& args) {
  const ArgumentChecker check("linear", exec);
  check.given("x", args.x);
  check.given("weight", args.weight);
  check.given("out", args.out);
  check.rank("weight", args.weight, 2);
  check.compute_dtype("x", args.x);
  const DType dtype = args.x.dtype();
  const std::int64_t out_features = args.weight.extent(0), in_features = args.weight.extent(1);
  OPHIS_REQUIRE(args.x.rank() >= 1 && args.x.extent(-1) == in_features, "linear: x has shape ",
                args.x.shape(), ", but weight ", args.weight.shape(), " takes ", in_features, " features");
  OPHIS_REQUIRE(in_features <= 1 || args.weight.stride(1) == 1,
                "linear: the last axis of weight must be dense, but its stride is ", args.weight.stride(1));
  Dims out_shape = args.x.shape();
  out_shape[out_shape.size() - 1] = out_features;
  check.activation("x", args.x, args.x.shape(), dtype);
  check.activation("weight", args.weight, args.weight.shape(), dtype);
  check.parameter("bias", args.bias, {out_features});
  if (args.out.dtype() != DType::float32) check.dtype("out", args.out, dtype);
  check.shape("out", args.out, out_shape);
  linear_shape(args);
  if (args.out.count() > 0) dispatch("linear", linear_impls(), exec, args);
}

}  // namespace ophis
