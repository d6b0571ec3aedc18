// Eigen multiplies tiles on one thread each; the tiles are ours, so that the work is even and 16-bit weights
// are widened to float one tile at a time.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>
#include <algorithm>

#include "backends/cpu/linear_cpu.hpp"
#include "ophis/core/host_parallel.hpp"
#include "ophis/core/simd.hpp"
#include "ops/common/dense.hpp"
#include "ops/linear/store_outputs.hpp"

namespace ophis::linear_cpu {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMap = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;
using Map = Eigen::Map<Matrix, 0, Eigen::OuterStride<>>;

constexpr std::int64_t tile_rows = 256;
constexpr std::int64_t tile_outs = 128;

/// Rows of T as rows of float: a view if T is float, else a copy in `scratch`.
template <class T>
ConstMap as_float(const T* from, std::int64_t ld, std::int64_t rows, std::int64_t columns, float* scratch) {
  if constexpr (std::is_same_v<T, float>) {
    return ConstMap(from, rows, columns, Eigen::OuterStride<>(ld));
  } else {
    constexpr int W = native_pack_width;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; c += W) {
        const int count = static_cast<int>(std::min<std::int64_t>(W, columns - c));
        store(scratch + r * columns + c, 1, count, load<W>(from + r * ld + c, 1, count));
      }
    }
    return ConstMap(scratch, rows, columns, Eigen::OuterStride<>(columns));
  }
}

/// One item: a tile of out.
template <class T, class Out>
struct Tile {
  const T* x;
  const T* weight;
  const float* bias;  // or nullptr
  Out* out;
  LinearShape shape;
  std::int64_t row_tiles;
  float* scratch;  // per thread: x, weight and out as float
  std::int64_t scratch_stride;
  bool accumulate;

  void operator()(std::int64_t item, int thread) const {
    const std::int64_t row = item % row_tiles * tile_rows;
    const std::int64_t first = item / row_tiles * tile_outs;
    const std::int64_t rows = std::min(tile_rows, shape.rows - row);
    const std::int64_t outs = std::min(tile_outs, shape.out_features - first);
    float* const x_scratch = scratch + thread * scratch_stride;
    float* const weight_scratch = x_scratch + tile_rows * shape.in_features;
    float* const out_scratch = weight_scratch + tile_outs * shape.in_features;
    const ConstMap a = as_float(x + row * shape.ldx, shape.ldx, rows, shape.in_features, x_scratch);
    const ConstMap b =
        as_float(weight + first * shape.ldw, shape.ldw, outs, shape.in_features, weight_scratch);
    Map product(out_scratch, rows, outs, Eigen::OuterStride<>(outs));
    product.noalias() = a * b.transpose();
    if (bias) product.rowwise() += Eigen::Map<const Eigen::RowVectorXf>(bias + first, outs);
    constexpr int W = native_pack_width;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < outs; c += W) {
        const int count = static_cast<int>(std::min<std::int64_t>(W, outs - c));
        Out* const to = out + (row + r) * shape.ldout + first + c;
        store_outputs(to, count, load<W>(out_scratch + r * outs + c, 1, count), accumulate);
      }
    }
  }
};

template <class T, class Out>
void run_tiles(ExecContext& exec, const LinearArgs& args) {
  const Tensor bias = as_dense_float32(exec, args.bias);
  const LinearShape shape = linear_shape(args);
  const std::int64_t scratch_stride = (tile_rows + tile_outs) * shape.in_features + tile_rows * tile_outs;
  const std::int64_t row_tiles = (shape.rows + tile_rows - 1) / tile_rows;
  const Tile<T, Out> tile{args.x.data<T>(),
                          args.weight.data<T>(),
                          bias ? bias.data<float>() : nullptr,
                          args.out.data<Out>(),
                          shape,
                          row_tiles,
                          exec.workspace().take<float>(num_threads() * scratch_stride),
                          scratch_stride,
                          args.accumulate};
  for_each_on_host(row_tiles * ((shape.out_features + tile_outs - 1) / tile_outs), tile);
}

}  // namespace

const char* why_not_eigen(Device device, const LinearArgs& args) {
  if (device.type != DeviceType::cpu) return "it runs on the cpu only";
  if (linear_shape(args).rows <= linear_few_rows) return "few rows: bound by reading the weight";
  return nullptr;
}

void run_eigen(ExecContext& exec, const LinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  dispatch_product_dtypes(args.x.dtype(), args.out.dtype(),
                          [&]<class T, class Out>(std::type_identity<T>, std::type_identity<Out>) {
                            run_tiles<T, Out>(exec, args);
                          });
}

}  // namespace ophis::linear_cpu
