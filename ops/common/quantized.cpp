#include "ops/common/quantized.hpp"

namespace ophis {

void check_quantized(const ArgumentChecker& check, const Tensor& weight, const Tensor& scale,
                     const Tensor& shift, std::int64_t out_features, std::int64_t in_features) {
  check.given("weight", weight);
  check.given("weight_scale", scale);
  check.rank("weight", weight, 2);
  check.rank("weight_scale", scale, 2);
  check.dtype("weight", weight, DType::uint8);
  OPHIS_REQUIRE(in_features > 0 && in_features % 8 == 0, check.op(), ": there are ", in_features,
                " input features, but a quantized weight takes a multiple of 8");
  OPHIS_REQUIRE(code_bits(in_features, weight.extent(1)) != 0, check.op(), ": weight has shape ",
                weight.shape(), ", but ", in_features, " codes of 8 or of 4 bits take ", in_features, " or ",
                in_features / 2, " bytes");
  check.shape("weight", weight, {out_features, weight.extent(1)});
  const std::int64_t groups = scale.extent(1);
  OPHIS_REQUIRE(groups > 0 && in_features % (groups * 8) == 0, check.op(), ": weight_scale has shape ",
                scale.shape(), ", but groups of ", in_features, " inputs must all have the same size, ",
                "a multiple of 8");
  check.parameter("weight_scale", scale, {out_features, groups});
  check.activation("weight_shift", shift, {out_features, groups}, DType::float32);
  for (const auto& [name, tensor] :
       {std::pair{"weight", &weight}, {"weight_scale", &scale}, {"weight_shift", &shift}}) {
    OPHIS_REQUIRE(!*tensor || tensor->extent(1) <= 1 || tensor->stride(1) == 1, check.op(),
                  ": the last axis of ", name, " must be dense, but its stride is ", tensor->stride(1));
  }
}

}  // namespace ophis
