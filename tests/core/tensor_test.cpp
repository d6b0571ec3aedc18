#include "ophis/core/tensor.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

using ophis::Dims;
using ophis::DType;
using ophis::Error;
using ophis::Tensor;

TEST_CASE("a tensor knows its shape, strides and count") {
  std::vector<float> values(24);
  const Tensor tensor(values.data(), DType::float32, {2, 3, 4});
  CHECK(tensor.strides() == Dims{12, 4, 1});
  CHECK(tensor.count() == 24);
  CHECK(tensor.bytes() == 96);
  CHECK(tensor.extent(-1) == 4);
  CHECK(tensor.is_contiguous());
  CHECK_FALSE(tensor.transpose(0, 1).is_contiguous());
  CHECK_FALSE(static_cast<bool>(Tensor()));
}

TEST_CASE("slice and select point at the right element") {
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.0f);
  const Tensor tensor(values.data(), DType::float32, {2, 3, 4});
  CHECK(tensor.slice(1, 1, 3).shape() == Dims{2, 2, 4});
  CHECK(*tensor.slice(1, 1, 3).data<float>() == 4.0f);
  CHECK(tensor.select(0, 1).shape() == Dims{3, 4});
  CHECK(*tensor.select(0, 1).data<float>() == 12.0f);
  CHECK_THROWS_AS(tensor.slice(2, 3, 5), Error);
  CHECK_THROWS_AS(tensor.select(3, 0), Error);
}

TEST_CASE("reshape works on strided tensors where no copy is needed") {
  std::vector<float> values(48);
  const Tensor tensor(values.data(), DType::float32, {2, 3, 8});
  const Tensor part = tensor.slice(2, 0, 4);  // strides (24, 8, 1)
  CHECK(part.reshape({6, 4}).strides() == Dims{8, 1});
  CHECK(part.reshape({6, 2, 2}).strides() == Dims{8, 2, 1});
  CHECK(part.reshape({1, 2, 3, 1, 4}).select(0, 0).select(2, 0).strides() == Dims{24, 8, 1});
  CHECK_THROWS_AS(part.reshape({24}), Error);
  CHECK_THROWS_AS(part.reshape({5, 5}), Error);
}

TEST_CASE("bad shapes and dtypes are refused") {
  float value = 0;
  CHECK_THROWS_AS(Tensor(&value, DType::float32, {-1}), Error);
  CHECK_THROWS_AS(Tensor(&value, DType::float32, {1LL << 40, 1LL << 40}), Error);
  CHECK_THROWS_AS(Tensor(nullptr, DType::float32, {1}), Error);
  CHECK_THROWS_AS(Tensor(&value, DType::float32, {1}).data<double>(), Error);
  CHECK_THROWS_WITH(
      ophis::parse_dtype("float8"),
      "unknown dtype 'float8'; known: float32, bfloat16, float16, float64, int64, int32, int16, int8, "
      "uint8, boolean");
  CHECK(ophis::parse_dtype("bf16") == DType::bfloat16);
}

TEST_CASE("extents whose strides would overflow are refused, also beside an extent of zero") {
  constexpr std::int64_t huge = std::int64_t{1} << 40;
  CHECK_THROWS_AS(ophis::element_count({huge, huge}), Error);
  CHECK_THROWS_AS(ophis::element_count({0, huge, huge}), Error);
  CHECK(ophis::element_count({0, huge}) == 0);
}
