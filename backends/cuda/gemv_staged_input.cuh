// Rows for gemv.cuh that every block brings into shared memory while its part of the weight is on its way,
// in the form in which the weight meets them; perhaps with a norm whose root is left to the end: the rows are
// multiplied with the norm's weight, their squares added up, and the sums divided.
#pragma once

#include "backends/cuda/fours.cuh"
#include "backends/cuda/gemv.cuh"

namespace ophis::cuda::gemv {

/// Rows of T as they are.
template <class T>
struct DenseColumns {
  /// Elements from row to row, of which the second begins in other banks of shared memory.
  __host__ __device__ static std::int64_t stride(std::int64_t in_features) {
    return in_features + 64 / static_cast<std::int64_t>(sizeof(T));
  }
  __host__ __device__ static std::int64_t bytes(std::int64_t rows, std::int64_t in_features) {
    return rows * stride(in_features) * static_cast<std::int64_t>(sizeof(T));
  }
  /// As many elements of a row as are stored; those behind in_features are zeros.
  __device__ static int padded(int in_features) { return in_features; }
  /// Stores elements at ... at + 3 of a row, lane after lane of a warp.
  __device__ void store(void* memory, const Product<T>& p, int row, int at, const float (&values)[4]) const {
    if (at < p.in_features) store4(static_cast<T*>(memory) + row * stride(p.in_features) + at, values);
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

  static std::int64_t shared_bytes(std::int64_t rows, std::int64_t in_features) {
    return squares_at(rows, in_features) + rows * block_warps * 4;
  }
  /// Where the sums of squares of each warp are, behind the columns.
  __host__ __device__ static std::int64_t squares_at(std::int64_t rows, std::int64_t in_features) {
    return (Columns::bytes(rows, in_features) + 15) / 16 * 16;
  }

  template <int rows>
  struct Reader {
    static constexpr int fours = 5;  // in flight, for a thread
    static constexpr int stride = 4 * block_threads;

    const Product<T>& p;
    const StagedInput& input;
    char* const memory;
    float weights[fours][4];  // of the first elements

    __device__ float* squares() const {
      return reinterpret_cast<float*>(memory + squares_at(p.rows, p.in_features));
    }

    __device__ Reader(const Product<T>& p, const StagedInput& input, void* memory)
        : p(p), input(input), memory(static_cast<char*>(memory)) {
      if (input.weight) load_fours(weights, input.weight, own_first());
    }

    /// The thread's first element, of the block's first fours.
    __device__ static int own_first() { return static_cast<int>(threadIdx.x) * 4; }
    __device__ static int lane() { return static_cast<int>(threadIdx.x % 32); }

    template <class X>
    __device__ void load_fours(float (&to)[fours][4], const X* from, int first) const {
#pragma unroll
      for (int k = 0; k < fours; ++k) {
        if (first + k * stride < p.in_features) load4(to[k], from + first + k * stride);
      }
    }

    __device__ void load() {
      int held = own_first();  // where the weights are from
#pragma unroll 1
      for (int row = 0; row < p.rows; ++row) {
        float sum = 0.0f;
#pragma unroll 1
        for (int first = own_first(); first - lane() * 4 < Columns::padded(p.in_features);
             first += fours * stride) {
          if (input.weight && first != held) load_fours(weights, input.weight, held = first);
          sum += load(row, first);
        }
        if (!input.weight) continue;
        sum = warp_sum(sum);
        if (lane() == 0) squares()[row * block_warps + threadIdx.x / 32] = sum;
      }
      __syncthreads();
    }

    /// Elements from `first` on of a row; returns the sum of their squares.
    __device__ float load(int row, int first) {
      float values[fours][4] = {};
      if (input.x_float32)
        load_fours(values, static_cast<const float*>(input.x) + row * p.ldx, first);
      else
        load_fours(values, static_cast<const T*>(input.x) + row * p.ldx, first);
      float sum = 0.0f;
#pragma unroll
      for (int k = 0; k < fours; ++k) {
        const int at = first + k * stride;
        if (at - lane() * 4 >= Columns::padded(p.in_features)) continue;
        if (input.weight) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            sum = fmaf(values[k][i], values[k][i], sum);
            if (at < p.in_features) values[k][i] *= weights[k][i];
          }
        }
        input.columns.store(memory, p, row, at, values[k]);
      }
      return sum;
    }

    __device__ Piece<T> piece(int row, int at) const {
      return load_shared(reinterpret_cast<const T*>(memory) + row * Columns::stride(p.in_features) + at);
    }
    __device__ float factor(int row) const {
      if (!input.weight) return 1.0f;
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < block_warps; ++w) sum += squares()[row * block_warps + w];
      return rsqrtf(__fdividef(sum, static_cast<float>(p.in_features)) + input.eps);
    }
  };
};

}  // namespace ophis::cuda::gemv
