// Initial parameters, as the papers and mamba_ssm draw them. Drawn on the host from std::mt19937_64, so equal
// for equal seeds on every backend.
#pragma once

#include <cstdint>
#include <random>

#include "ophis/models/config.hpp"
#include "ophis/models/parameters.hpp"

namespace ophis {

/// Draws numbers with our own formulas: the standard library's distributions differ from one library to the
/// next.
class Random {
 public:
  explicit Random(std::uint64_t seed) : m_engine(seed) {}
  /// In [low, high).
  double uniform(double low, double high);
  double normal(double standard_deviation);

 private:
  std::mt19937_64 m_engine;
};

/// All parameters of a block, float32, by their checkpoint names: S4D-real A, D of ones, step sizes
/// log-uniform in [dt_min, dt_max], weights uniform in +-1/sqrt(fan_in). out_proj.weight is divided by
/// `residual_scale`.
ParameterMap initial_parameters(const MambaConfig& config, std::uint64_t seed, double residual_scale = 1.0);
ParameterMap initial_parameters(const Mamba2Config& config, std::uint64_t seed, double residual_scale = 1.0);

/// A (rows, columns) table of normal values.
Parameter initial_embedding(std::int64_t rows, std::int64_t columns, double standard_deviation,
                            std::uint64_t seed);

/// A vector filled with one value.
Parameter filled(const Dims& shape, float value);

}  // namespace ophis
