#include "ophis/ops/quantized_linear.hpp"

#include "ops/common/quantized.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis {

LinearArgs linear_of(const QuantizedLinearArgs& args, const Tensor& weight) {
  return {args.x, weight, args.bias, args.out, false, args.accumulate};
}

LinearShape linear_shape(const QuantizedLinearArgs& args) {
  return linear_shape(linear_of(args, args.weight));
}

void quantized_linear(ExecContext& exec, const QuantizedLinearArgs& args) {
  const ArgumentChecker check("quantized_linear", exec);
  check.given("x", args.x);
  check.given("weight", args.weight);
  check.given("out", args.out);
  check.rank("weight", args.weight, 2);
  check.rows("x", args.x);
  const DType dtype = args.x.dtype();
  const std::int64_t in_features = args.x.extent(-1), out_features = args.weight.extent(0);
  check.activation("x", args.x, args.x.shape(), dtype);
  check_quantized(check, args.weight, args.weight_scale, args.weight_shift, out_features, in_features);
  check.parameter("bias", args.bias, {out_features});
  check.dtype_or_float32("out", args.out, dtype);
  Dims out_shape = args.x.shape();
  out_shape[out_shape.size() - 1] = out_features;
  check.shape("out", args.out, out_shape);
  for (const auto& [name, tensor] : {std::pair{"x", &args.x}, {"out", &args.out}}) {
    OPHIS_REQUIRE(tensor->extent(-1) <= 1 || tensor->stride(-1) == 1, "quantized_linear: the last axis of ",
                  name, " must be dense, but its stride is ", tensor->stride(-1));
  }
  if (args.out.count() == 0) return;
  for_each_matrix(args, [&](const QuantizedLinearArgs& part) {
    dispatch("quantized_linear", quantized_linear_impls(), exec, part);
  });
}

}  // namespace ophis
