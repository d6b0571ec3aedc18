// The portable kernel of rms_norm and layer_norm: every backend, every valid input.
#pragma once

#include "ophis/core/simd_math.hpp"
#include "ophis/ops/rms_norm.hpp"
#include "ops/common/rows.hpp"
#include "ops/common/strided.hpp"

namespace ophis::rms_norm_kokkos {

enum class Center { none, mean };

/// Threads of a GPU for a group of columns.
inline constexpr int group_size = 256;

/// What is normalised, W columns at a time: x + residual, times silu(z) where the gate comes first.
template <class T, int W>
struct Input {
  Row x, residual, gate;
  bool x_float32, residual_float32;

  KOKKOS_FUNCTION static Pack<W> load(const Row& row, bool float32, std::int64_t column, int count) {
    return float32 ? row.load<float, W>(column, count) : row.load<T, W>(column, count);
  }
  KOKKOS_FUNCTION Pack<W> sum(std::int64_t column, int count) const {
    const Pack<W> value = load(x, x_float32, column, count);
    return residual ? value + load(residual, residual_float32, column, count) : value;
  }
  KOKKOS_FUNCTION Pack<W> gated(Pack<W> sum, std::int64_t column, int count) const {
    return gate ? sum * silu(gate.load<T, W>(column, count)) : sum;
  }
  KOKKOS_FUNCTION Pack<W> operator()(std::int64_t column, int count) const {
    return gated(sum(column, count), column, count);
  }
};

/// One item: one group of one row. The statistics come from passes that only read, the last pass writes, so
/// that outputs may be the memory of inputs. It computes its input again; on a CPU only where that is cheap.
template <class T, int W, Center center, class Out = T>
struct Normalize {
  RowShape shape;
  Rows x, residual, z, residual_out, out;
  const float* weight;  // (dim), or nullptr
  const float* bias;    // (dim), or nullptr
  std::int64_t group, groups;
  float eps;
  bool x_float32, residual_float32, residual_out_float32, norm_before_gate;

  /// Columns of a group whose gated input a thread can keep from pass to pass.
  static constexpr int kept_columns = W == 1 ? 1 : 8192;

  template <class Threads = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Threads& threads = {}) const {
    const RowIndex row = shape[item / groups];
    const std::int64_t begin = item % groups * group;
    const Columns columns{begin, begin + threads.rank() * W, begin + group, threads.size() * W};
    const Input<T, W> input{x[row], residual[row], norm_before_gate ? Row() : z[row], x_float32,
                            residual_float32};
    const float size = static_cast<float>(group);
    const float mean = center == Center::mean ? threads.sum(total(input, columns)) / size : 0.0f;
    alignas(64) float buffer[kept_columns];
    float* const kept = W > 1 && input.gate && group <= kept_columns ? buffer : nullptr;
    const float variance = threads.sum(squares(input, mean, columns, kept)) / size;
    write(input, row, mean, 1.0f / Kokkos::sqrt(variance + eps), columns, kept);
  }

  /// Those of a group that a thread works on, from `first` on in steps.
  struct Columns {
    std::int64_t begin, first, end, step;
  };

  KOKKOS_FUNCTION static float total(const Input<T, W>& input, const Columns& columns) {
    Pack<W> sum(0.0f);
    for (std::int64_t c = columns.first; c < columns.end; c += columns.step)
      sum += input(c, lanes<W>(columns.end - c));
    return reduce_add(sum);
  }

  /// The sum of (input - mean)^2; the input goes to `kept`, if that is given.
  KOKKOS_FUNCTION static float squares(const Input<T, W>& input, float mean, const Columns& columns,
                                       float* kept) {
    Pack<W> sum(0.0f);
    for (std::int64_t c = columns.first; c < columns.end; c += columns.step) {
      const int count = lanes<W>(columns.end - c);
      const Pack<W> value = input(c, count);
      if (kept) store(kept + (c - columns.begin), 1, count, value);
      const Pack<W> deviation = first_lanes(value - Pack<W>(mean), count, 0.0f);
      sum = fma(deviation, deviation, sum);
    }
    return reduce_add(sum);
  }

  KOKKOS_FUNCTION void write(const Input<T, W>& input, const RowIndex& row, float mean, float scale,
                             const Columns& columns, const float* kept) const {
    const Row sum_row = residual_out[row], out_row = out[row];
    const Row gate = norm_before_gate ? z[row] : Row();
    for (std::int64_t c = columns.first; c < columns.end; c += columns.step) {
      const int count = lanes<W>(columns.end - c);
      const Pack<W> sum = kept && !sum_row ? Pack<W>(0.0f) : input.sum(c, count);
      const Pack<W> value = kept ? load<W>(kept + (c - columns.begin), 1, count) : input.gated(sum, c, count);
      Pack<W> y = (value - Pack<W>(mean)) * Pack<W>(scale);
      if (weight) y *= load<W>(weight + c, 1, count);
      if (bias) y += load<W>(bias + c, 1, count);
      if (gate) y *= silu(gate.load<T, W>(c, count));
      if (sum_row && residual_out_float32) sum_row.store<float>(c, count, sum);
      if (sum_row && !residual_out_float32) sum_row.store<T>(c, count, sum);
      out_row.store<Out>(c, count, y);
    }
  }
};

/// The kernel of a call, whose outputs are Out. Dense parameters go to the workspace.
template <class T, int W, Center center, class Out = T>
Normalize<T, W, center, Out> make_kernel(ExecContext& exec, const RmsNormArgs& args) {
  const Tensor weight = as_dense_float32(exec, args.weight);
  const Tensor bias = as_dense_float32(exec, args.bias);
  const RowShape shape(args.x.shape());
  const std::int64_t group = args.group_size ? args.group_size : shape.length();
  return {shape,
          Rows(args.x),
          Rows(args.residual),
          Rows(args.z),
          Rows(args.residual_out),
          Rows(args.out),
          weight ? weight.data<float>() : nullptr,
          bias ? bias.data<float>() : nullptr,
          group,
          shape.length() / group,
          static_cast<float>(args.eps),
          args.x.dtype() == DType::float32,
          args.residual.dtype() == DType::float32,
          args.residual_out.dtype() == DType::float32,
          args.norm_before_gate};
}

template <Center center>
void run(ExecContext& exec, const char* label, const RmsNormArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_compute_dtype(args.out.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
      const auto kernel = make_kernel<T, W, center>(exec, args);
      for_each_group<group_size>(space, label, kernel.shape.rows() * kernel.groups, kernel);
    });
  });
}

inline void forward(ExecContext& exec, const RmsNormArgs& args) {
  run<Center::none>(exec, "ophis::rms_norm", args);
}

}  // namespace ophis::rms_norm_kokkos
