// Rows for gemv.cuh that every block brings into shared memory while its part of the weight is on its way,
// in the form in which the weight meets them; perhaps with a norm whose root is left to the end: the rows are
// multiplied with the norm's weight, their squares added up, and the sums divided.
#pragma once

#include "backends/cuda/gemv.cuh"

namespace ophis::cuda::gemv {

/// Inputs that are staged together; rows are padded with zeros to a multiple of them.
inline constexpr int staged_block = 256;

__host__ __device__ inline int padded(int in_features) {
  return (in_features + staged_block - 1) / staged_block * staged_block;
}

/// Rows of T as they are.
template <class T>
struct DenseColumns {
  static constexpr int run = piece<T>;  // elements that a lane stores at once

  /// Elements from row to row, of which the second begins in other banks of shared memory.
  __host__ __device__ static int stride(int in_features) {
    return padded(in_features) + 64 / static_cast<int>(sizeof(T));
  }
  __host__ __device__ static int bytes(int rows, int in_features) {
    return rows * stride(in_features) * static_cast<int>(sizeof(T));
  }
  /// Stores elements `at` and on of a row, run after run by the lanes of a warp.
  __device__ void store(void* memory, const Product<T>& p, int row, int at,
                        const float (&values)[run]) const {
    const Piece<T> packed = pack<T>(values);
    *reinterpret_cast<uint4*>(static_cast<T*>(memory) + row * stride(p.in_features) + at) =
        make_uint4(packed.words[0], packed.words[1], packed.words[2], packed.words[3]);
  }
};

/// `Columns` is the form.
template <class T, class Columns>
struct StagedInput {
  Columns columns;
  const void* x;        // of T, or float32
  const float* weight;  // of the norm; nullptr: there is none
  float eps;
  bool x_float32;

  /// Of shared memory: the sums of squares of each warp, and behind them the columns.
  static constexpr int squares_bytes = max_rows * block_warps * 4;
  static int shared_bytes(int rows, int in_features) {
    return squares_bytes + Columns::bytes(rows, in_features);
  }

  struct Reader {
    static constexpr int run = Columns::run;
    static constexpr int flight = 6144 / (block_threads * run);  // runs in flight, for a thread
    static constexpr int stride = run * block_threads;

    const Product<T>& p;
    const StagedInput& input;
    float* const squares;        // (rows, warps)
    char* const memory;          // of the columns
    float weights[flight][run];  // of the first elements

    __device__ Reader(const Product<T>& p, const StagedInput& input, void* shared)
        : p(p),
          input(input),
          squares(static_cast<float*>(shared)),
          memory(static_cast<char*>(shared) + squares_bytes) {
      if (input.weight) load_runs(weights, input.weight, own_first());
    }

    /// The thread's first element, of the block's first runs.
    __device__ static int own_first() { return static_cast<int>(threadIdx.x) * run; }
    __device__ static int lane() { return static_cast<int>(threadIdx.x % 32); }

    /// Zeros behind the row's end.
    template <class X>
    __device__ void load_runs(float (&to)[flight][run], const X* from, int first) const {
#pragma unroll
      for (int k = 0; k < flight; ++k) {
        const bool inside = first + k * stride < p.in_features;
#pragma unroll
        for (int i = 0; i < run; i += gemv::piece<X>) {
          const Piece<X> loaded = inside ? load_piece(from + first + k * stride + i) : Piece<X>{};
          unpack(loaded, reinterpret_cast<float(&)[gemv::piece<X>]>(to[k][i]));
        }
      }
    }

    __device__ void load() {
      int held = own_first();  // where the weights are from
#pragma unroll 1
      for (int row = 0; row < p.rows; ++row) {
        float sum = 0.0f;
#pragma unroll 1
        for (int first = own_first(); first - lane() * run < padded(p.in_features);
             first += flight * stride) {
          if (input.weight && first != held) load_runs(weights, input.weight, held = first);
          sum += load(row, first);
        }
        if (!input.weight) continue;
        sum = warp_sum(sum);
        if (lane() == 0) squares[row * block_warps + threadIdx.x / 32] = sum;
      }
      __syncthreads();
    }

    /// Elements from `first` on of a row; returns the sum of their squares.
    __device__ float load(int row, int first) {
      float values[flight][run];
      if (input.x_float32)
        load_runs(values, static_cast<const float*>(input.x) + row * p.ldx, first);
      else
        load_runs(values, static_cast<const T*>(input.x) + row * p.ldx, first);
      float sum = 0.0f;
#pragma unroll
      for (int k = 0; k < flight; ++k) {
        const int at = first + k * stride;
        if (at - lane() * run >= padded(p.in_features)) break;
        if (input.weight) {
#pragma unroll
          for (int i = 0; i < run; ++i) {
            sum = fmaf(values[k][i], values[k][i], sum);
            values[k][i] *= weights[k][i];
          }
        }
        input.columns.store(memory, p, row, at, values[k]);
      }
      return sum;
    }

    __device__ int row_begin(int row) const { return row * Columns::stride(p.in_features); }
    __device__ Piece<T> piece(int row_begin, int at) const {
      return load_piece(reinterpret_cast<const T*>(memory) + row_begin + at);
    }
    __device__ float factor(int row) const {
      if (!input.weight) return 1.0f;
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < block_warps; ++w) sum += squares[row * block_warps + w];
      return rsqrtf(__fdividef(sum, static_cast<float>(p.in_features)) + input.eps);
    }
  };
};

}  // namespace ophis::cuda::gemv
