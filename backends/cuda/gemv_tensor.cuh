// Weights of 16 bits for gemv.cuh, multiplied by tensor cores. Small products, whose kernels are done in
// microseconds, are bound by the issue of instructions otherwise: a product here takes a tenth of them, for
// up to eight rows alike, and so few registers that the blocks of the next kernels have room beside these,
// where they ask for their weights while they wait.
#pragma once

#include "backends/cuda/gemv.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace ophis::cuda::gemv {

/// Rows of T, bfloat16 or float16. Eight outputs a group; a lane's pieces are of output lane / 4.
template <class T>
struct TensorWeight {
  using Capacities = std::integer_sequence<int, 8>;
  static constexpr int blocks_abreast = 4;
  template <int>
  static constexpr int in_flight = 6;
  static constexpr int min_group_warps = 4;
  static constexpr int group_outs = 8;
  static constexpr int warp_features = 4 * piece<T>;

  const T* values;
  std::int64_t ld;

  template <int rows, int group_warps>
  struct Lane {
    static_assert(rows == 8, "the rows of a fragment");
    static constexpr int stride = group_warps * warp_features;
    static constexpr int flight = in_flight<rows>;
    static constexpr int stores = 1;

    const Product<T>& p;
    const TensorWeight& weight;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int first = warp % group_warps * warp_features + lane % 4 * piece<T>;
    const int index = warp % group_warps * 32 + lane;  // in the group
    Piece<T> pieces[flight];
    float sums[4];  // of row lane / 4 and outputs lane % 4 * 2 and the next; the rest are of no row
    float total;

    __device__ Lane(const Product<T>& p, const TensorWeight& weight) : p(p), weight(weight) {}

    __device__ void load(int k, const Next& next) {
      const int at = next.begin + k * stride + first;
      const T* const row = weight.values + min(next.out + lane / 4, p.out_features - 1) * weight.ld;
      pieces[k] = next.wanted && at < p.in_features ? load_weight(row + at) : Piece<T>{};
    }
    __device__ void load(const Next& next) {
#pragma unroll
      for (int k = 0; k < flight; ++k) load(k, next);
    }
    __device__ void clear() { sums[0] = sums[1] = sums[2] = sums[3] = 0.0f; }

    /// A fragment's inputs may be in any order, if the rows' and the weight's are in the same: a lane's are
    /// the eight of its piece, in two products.
    template <class Reader>
    __device__ void multiply(const Reader& x, int, int begin, const Next& next) {
      const int row = min(lane / 4, p.rows - 1);
#pragma unroll
      for (int k = 0; k < flight; ++k) {
        const int at = begin + first + k * stride;
        const Piece<T> of_row = at < p.in_features ? x.piece(row, at) : Piece<T>{};
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const std::uint32_t a[4] = {of_row.words[2 * half], 0, of_row.words[2 * half + 1], 0};
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
          mma_16816<T>(sums, a, pieces[k].words[2 * half], pieces[k].words[2 * half + 1]);
#endif
        }
        load(k, next);
      }
    }

    __device__ int out_of(int) const { return index % group_outs; }
    __device__ int row_of(int) const { return index / group_outs; }
    __device__ bool stores_it(int) const { return index < group_outs * rows; }
    /// Adds up what the warps of the group have, in their order. Calls in a row give `turn` 0 and 1 in turn.
    __device__ void add_over_group(int turn) {
      __shared__ float memory[2][block_warps][rows][group_outs];
      auto& of_warps = memory[turn];
      if (lane / 4 < p.rows) {
        of_warps[warp][lane / 4][lane % 4 * 2] = sums[0];
        of_warps[warp][lane / 4][lane % 4 * 2 + 1] = sums[1];
      }
      __syncthreads();
      if (index >= group_outs * p.rows) return;
      const int group = warp / group_warps * group_warps;
      total = 0.0f;
#pragma unroll
      for (int w = 0; w < group_warps; ++w) total += of_warps[group + w][row_of(0)][out_of(0)];
    }
    __device__ float value(int) const { return total; }
  };
};

/// Calls f with the weight of linear(args), in the form that is faster.
template <class T, class F>
void with_dense_weight(ExecContext& exec, const LinearArgs& args, const F& f) {
  constexpr std::int64_t small_features = 2048;
  if constexpr (sizeof(T) == 2) {
    const LinearShape shape = linear_shape(args);
    if (shape.in_features <= small_features && properties(exec.device()).compute_capability >= 80)
      return f(TensorWeight<T>{args.weight.data<T>(), shape.ldw});
  }
  f(make_weight<T>(args));
}

}  // namespace ophis::cuda::gemv
