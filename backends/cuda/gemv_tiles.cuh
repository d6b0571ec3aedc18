// What the weights of gemv.cuh that multiply on tensor cores share: a group of warps computes sixteen outputs
// of all rows, each warp from its part of the inputs.
#pragma once

#include "backends/cuda/gemv.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace ophis::cuda::gemv {

inline constexpr int mma_outs = 16;

/// A lane of a group, whose warps' sums meet in shared memory.
template <int rows, int group_warps>
struct TileLane {
  static constexpr int group_lanes = 32 * group_warps;
  static constexpr int stores = (mma_outs * rows + group_lanes - 1) / group_lanes;  // that a lane stores

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const float (*of_group)[rows][mma_outs];  // of each warp

  /// A lane's outputs are group_lanes behind one another, those of a row side by side.
  __device__ int index(int i) const { return i * group_lanes + warp % group_warps * 32 + lane; }
  __device__ int out_of(int i) const { return index(i) % mma_outs; }
  __device__ int row_of(int i) const { return index(i) / mma_outs; }
  __device__ bool stores_it(int i) const { return index(i) < mma_outs * rows; }

  /// Brings together what the warps of the group have: calls keep(sums), to store the warp's in sums (rows,
  /// mma_outs). Calls in a row give `turn` 0 and 1 in turn.
  template <class F>
  __device__ void meet(int turn, const F& keep) {
    __shared__ float memory[2][block_warps][rows][mma_outs];
    keep(memory[turn][warp]);
    __syncthreads();
    of_group = memory[turn] + warp / group_warps * group_warps;
  }
  /// The sum of the lane's output i.
  __device__ float value(int i) const {
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < group_warps; ++w) sum += of_group[w][row_of(i)][out_of(i)];
    return sum;
  }
  /// The lane's row of the weight, of two, for the tile that begins at output `out`.
  __device__ unsigned weight_row(int out, int half, int out_features) const {
    return static_cast<unsigned>(min(out + lane / 4 + 8 * half, out_features - 1));
  }
};

}  // namespace ophis::cuda::gemv
