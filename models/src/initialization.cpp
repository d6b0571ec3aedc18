#include "models/src/initialization.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ophis {
namespace {

template <class Draw>
Parameter drawn(const Dims& shape, Draw draw) {
  OwnedTensor tensor(DType::float32, shape);
  float* const values = tensor->data<float>();
  for (std::int64_t i = 0; i < tensor->count(); ++i) values[i] = static_cast<float>(draw(i));
  return own(std::move(tensor));
}

/// Uniform in +-1/sqrt(fan_in), torch's default for linear layers and convolutions.
Parameter drawn_uniform(Random& random, const Dims& shape, std::int64_t fan_in, double scale = 1.0) {
  const double bound = scale / std::sqrt(static_cast<double>(fan_in));
  return drawn(shape, [&](std::int64_t) { return random.uniform(-bound, bound); });
}

/// The inverse softplus of step sizes log-uniform in [min, max] and at least floor (Mamba, section 3.6).
Parameter drawn_dt_bias(Random& random, std::int64_t count, const TimeStepConfig& step) {
  return drawn({count}, [&](std::int64_t) {
    const double dt = std::exp(random.uniform(std::log(step.min), std::log(step.max)));
    const double clamped = std::max(dt, step.floor);
    return clamped + std::log(-std::expm1(-clamped));
  });
}

void add_projection(ParameterMap& map, Random& random, const std::string& name, std::int64_t outputs,
                    std::int64_t inputs, bool bias, double scale = 1.0) {
  map[name + ".weight"] = drawn_uniform(random, {outputs, inputs}, inputs, scale);
  if (bias) map[name + ".bias"] = filled({outputs}, 0.0f);
}

void add_conv(ParameterMap& map, Random& random, std::int64_t dim, std::int64_t width, bool bias) {
  map["conv1d.weight"] = drawn_uniform(random, {dim, 1, width}, width);
  if (bias) map["conv1d.bias"] = drawn_uniform(random, {dim}, width);
}

}  // namespace

double Random::uniform(double low, double high) {
  return low + (high - low) * static_cast<double>(m_engine() >> 11) * 0x1p-53;
}

double Random::normal(double standard_deviation) {  // Box and Muller
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform(0.0, 1.0)));
  return standard_deviation * radius * std::cos(2.0 * std::numbers::pi * uniform(0.0, 1.0));
}

Parameter filled(const Dims& shape, float value) {
  return drawn(shape, [&](std::int64_t) { return value; });
}

Parameter initial_embedding(std::int64_t rows, std::int64_t columns, double standard_deviation,
                            std::uint64_t seed) {
  Random random(seed);
  return drawn({rows, columns}, [&](std::int64_t) { return random.normal(standard_deviation); });
}

ParameterMap initial_parameters(const MambaConfig& config, std::uint64_t seed, double residual_scale) {
  Random random(seed);
  ParameterMap map;
  add_projection(map, random, "in_proj", 2 * config.d_inner, config.d_model, config.bias);
  add_conv(map, random, config.d_inner, config.d_conv, config.conv_bias);
  add_projection(map, random, "x_proj", config.dt_rank + 2 * config.d_state, config.d_inner, false);
  const double bound = config.time_step.scale / std::sqrt(static_cast<double>(config.dt_rank));
  const bool constant = config.time_step.init == DtInit::constant;
  map["dt_proj.weight"] = drawn({config.d_inner, config.dt_rank}, [&](std::int64_t) {
    return constant ? bound : random.uniform(-bound, bound);
  });
  map["dt_proj.bias"] = drawn_dt_bias(random, config.d_inner, config.time_step);
  map["A_log"] = drawn({config.d_inner, config.d_state}, [&](std::int64_t i) {
    return std::log(static_cast<double>(i % config.d_state + 1));  // S4D-real: A_n = -(n + 1)
  });
  map["D"] = filled({config.d_inner}, 1.0f);
  add_projection(map, random, "out_proj", config.d_model, config.d_inner, config.bias, 1.0 / residual_scale);
  return map;
}

ParameterMap initial_parameters(const Mamba2Config& config, std::uint64_t seed, double residual_scale) {
  Random random(seed);
  ParameterMap map;
  const std::int64_t features = config.d_inner + config.conv_dim() + config.nheads;
  add_projection(map, random, "in_proj", features, config.d_model, config.bias);
  add_conv(map, random, config.conv_dim(), config.d_conv, config.conv_bias);
  map["dt_bias"] = drawn_dt_bias(random, config.nheads, config.time_step);
  map["A_log"] = drawn({config.nheads}, [&](std::int64_t) {
    return std::log(random.uniform(config.A_init_min, config.A_init_max));
  });
  map["D"] = filled({config.D_has_hdim ? config.d_inner : config.nheads}, 1.0f);
  if (config.rmsnorm) map["norm.weight"] = filled({config.d_inner}, 1.0f);
  add_projection(map, random, "out_proj", config.d_model, config.d_inner, config.bias, 1.0 / residual_scale);
  return map;
}

}  // namespace ophis
