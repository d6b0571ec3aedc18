#include "ophis/models/block.hpp"

#include <cmath>

#include "models/src/initialization.hpp"
#include "tests/support/parity_test.hpp"

using namespace ophis;
using parity::TensorPool;

namespace {

MambaConfig small_mamba() {
  MambaConfig config;
  config.d_model = 24;
  config.d_inner = 48;
  config.d_state = 5;
  config.dt_rank = 3;
  return config;
}

Mamba2Config small_mamba2() {
  Mamba2Config config;
  config.d_model = 24;
  config.d_inner = 48;
  config.d_state = 10;
  config.headdim = 8;
  config.nheads = 6;
  config.ngroups = 2;
  return config;
}

/// A block over a sequence at once, in pieces with the state carried over, and step by step: all the same.
void check_pieces(const Block& block) {
  ExecContext exec;
  TensorPool pool(1);
  const std::int64_t batch = 2, seqlen = 21, d_model = 24;
  const Tensor x = pool.uniform(DType::float32, {batch, seqlen, d_model}, -1, 1);
  const Tensor whole = pool.poisoned(DType::float32, x.shape());
  block.forward(exec, x, whole);

  const Tensor pieces = pool.poisoned(DType::float32, x.shape());
  const BlockState state = block.make_state(exec, batch);
  for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 2}, {2, 11}, {11, 12}}) {
    block.forward(exec, x.slice(1, begin, end), pieces.slice(1, begin, end), &state);
  }
  CHECK(parity::worst_ratio(pieces.slice(1, 0, 12), pool.as_float64(whole.slice(1, 0, 12)), 32.0) <= 1.0);

  // A step adds to the residual.
  for (std::int64_t l = 12; l < seqlen; ++l) {
    const Tensor residual = pool.poisoned(DType::float32, {batch, d_model});
    fill_with_zeros(exec, residual);
    block.step(exec, {x.select(1, l), {}}, residual, state);
    CHECK(parity::worst_ratio(residual, pool.as_float64(whole.select(1, l)), 32.0) <= 1.0);
  }
}

/// Left padding does not touch the positions behind it.
void check_mask(const Block& block) {
  ExecContext exec;
  TensorPool pool(2);
  const Tensor x = pool.uniform(DType::float32, {1, 12, 24}, -1, 1);
  const Tensor mask = pool.integers({1, 12}, {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1});
  const Tensor padded = pool.poisoned(DType::float32, x.shape());
  const Tensor alone = pool.poisoned(DType::float32, {1, 7, 24});
  block.forward(exec, x, padded, nullptr, mask);
  block.forward(exec, x.slice(1, 5, 12), alone);
  CHECK(parity::worst_ratio(padded.slice(1, 5, 12), pool.as_float64(alone), 32.0) <= 1.0);
}

}  // namespace

TEST_CASE("a Mamba block in pieces and steps equals the whole") {
  for (const bool options : {false, true}) {
    MambaConfig config = small_mamba();
    config.bias = options;
    config.conv_bias = !options;
    if (options) config.activation = Activation::gelu;
    check_pieces(Mamba(config, DType::float32, 7));
  }
}

TEST_CASE("a Mamba-2 block in pieces and steps equals the whole") {
  for (const bool options : {false, true}) {
    Mamba2Config config = small_mamba2();
    config.bias = options;
    config.D_has_hdim = options;
    config.rmsnorm = !options;
    config.dt_max = options ? 0.05 : config.dt_max;
    check_pieces(Mamba2(config, DType::float32, 7));
  }
}

TEST_CASE("blocks pass over left padding") {
  check_mask(Mamba(small_mamba(), DType::float32, 3));
  check_mask(Mamba2(small_mamba2(), DType::float32, 3));
}

TEST_CASE("blocks compute in 16 bits close to float32") {
  ExecContext exec;
  TensorPool pool(4);
  const Tensor x = pool.uniform(DType::float32, {1, 30, 24}, -1, 1);
  const Mamba2 full(small_mamba2(), DType::float32, 5);
  const Tensor want = pool.poisoned(DType::float32, x.shape());
  full.forward(exec, x, want);
  for (const DType dtype : {DType::bfloat16, DType::float16}) {
    const Mamba2 half(small_mamba2(), dtype, 5);
    const OwnedTensor x_half = convert(x, dtype);
    const Tensor out = pool.poisoned(dtype, x.shape());
    half.forward(exec, x_half, out);
    const double epsilon = dtype == DType::bfloat16 ? 0x1p-8 : 0x1p-11;
    // A dozen roundings to 16 bits lie between input and output; in units of float32's epsilon.
    CHECK(parity::worst_ratio(out, pool.as_float64(want), 12.0 * epsilon / 0x1p-23) <= 1.0);
  }
}

TEST_CASE("initial parameters follow the papers and the seed") {
  MambaConfig config = small_mamba();
  config.time_step.floor = 0.01;
  const ParameterMap a = initial_parameters(config, 11), b = initial_parameters(config, 11);
  const ParameterMap other = initial_parameters(config, 12);
  for (const auto& [name, parameter] : a) CHECK(test::same_bits(parameter.tensor, b.at(name).tensor));
  CHECK_FALSE(test::same_bits(a.at("in_proj.weight").tensor, other.at("in_proj.weight").tensor));

  const Tensor A_log = a.at("A_log").tensor;
  for (std::int64_t n = 0; n < config.d_state; ++n) {
    CHECK(A_log.select(0, 1).data<float>()[n] == doctest::Approx(std::log(static_cast<double>(n + 1))));
  }
  const Tensor dt_bias = a.at("dt_proj.bias").tensor;
  for (std::int64_t d = 0; d < config.d_inner; ++d) {
    const double dt = std::log1p(std::exp(static_cast<double>(dt_bias.data<float>()[d])));
    CHECK(dt >= 0.01 * (1 - 1e-5));  // the floor is above dt_min
    CHECK(dt <= 0.1 * (1 + 1e-5));
  }
  const Tensor in_proj = a.at("in_proj.weight").tensor;
  for (std::int64_t i = 0; i < in_proj.count(); ++i) {
    CHECK(std::fabs(in_proj.data<float>()[i]) <= 1.0 / std::sqrt(24.0));
  }
}

TEST_CASE("a block names the parameter that is missing or misshapen") {
  ParameterMap parameters = initial_parameters(small_mamba(), 1);
  parameters.erase("x_proj.weight");
  CHECK_THROWS_WITH_AS(Mamba(small_mamba(), ParameterSource(parameters), DType::float32),
                       "there is no parameter x_proj.weight of shape (13, 48)", Error);
  parameters = initial_parameters(small_mamba(), 1);
  parameters["D"] = filled({47}, 1.0f);
  CHECK_THROWS_WITH_AS(Mamba(small_mamba(), ParameterSource(parameters), DType::float32),
                       "parameter D has shape (47), but must have (48)", Error);
}
