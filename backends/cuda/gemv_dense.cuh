// Weights of numbers for gemv.cuh: by fused multiply-adds, or on tensor cores in a fraction of the
// instructions.
#pragma once

#include "backends/cuda/gemv.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace ophis::cuda::gemv {

/// Rows of T. Two outputs a group, whose rows a group's lanes read side by side.
template <class T>
struct DenseWeight {
  using Capacities = std::integer_sequence<int, 1, 2, 4, max_rows>;  // of rows, that kernels are made for
  using NormCapacities = std::integer_sequence<int, 1, 2, 4>;        // and with a norm
  static constexpr int blocks_abreast = 2;                           // on a multiprocessor
  template <int rows>
  static constexpr int in_flight = 5;  // pieces of a row, for a lane
  static constexpr int min_group_warps = 1;
  static constexpr int group_outs = 2;
  static constexpr int warp_features = 32 * piece<T>;  // that a warp reads at once of a row

  const T* values;
  std::int64_t ld;

  /// What a lane holds of the weight, and its sums.
  template <int rows, int group_warps>
  struct Lane {
    static constexpr int stride = group_warps * warp_features;
    static constexpr int products = group_outs * rows;
    static constexpr int flight = in_flight<rows>;
    static constexpr int stores = 1;  // outputs that a lane stores: o * rows + r, in the group's first warp

    const Product<T>& p;
    const DenseWeight& weight;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_first = warp % group_warps * warp_features, first = warp_first + lane * piece<T>;
    Piece<T> pieces[group_outs][flight];
    float sums[products];
    float total;

    __device__ Lane(const Product<T>& p, const DenseWeight& weight) : p(p), weight(weight) {}

    /// Pieces k of the rows of the group's outputs; zeros behind the rows' ends.
    __device__ void load(int k, const Next& next) {
      const int at = next.begin + k * stride + first;
#pragma unroll
      for (int o = 0; o < group_outs; ++o) {
        const T* const row = weight.values + min(next.out + o, p.out_features - 1) * weight.ld;
        pieces[o][k] = at < p.in_features ? load_weight(row + at) : Piece<T>{};
      }
    }

    __device__ void load(const Next& next) {
#pragma unroll
      for (int k = 0; k < flight; ++k) load(k, next);
    }

    __device__ void clear() {
#pragma unroll
      for (int i = 0; i < products; ++i) sums[i] = 0.0f;
    }
    /// Adds the products of all pieces, which begin at `begin`, and replaces them as they are used, if more
    /// is wanted.
    template <class Reader>
    __device__ void multiply(const Reader& x, int, int begin, const Next& next) {
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        const int row = min(r, p.rows - 1);
        Piece<T> of_row[flight];
#pragma unroll
        for (int k = 0; k < flight; ++k) {
          const int at = begin + first + k * stride;
          of_row[k] = at < p.in_features ? x.piece(row, at) : Piece<T>{};
        }
#pragma unroll
        for (int k = 0; k < flight; ++k) {
          if (begin + warp_first + k * stride < p.in_features) add(r, of_row[k], k);
          if (r == rows - 1 && next.wanted) load(k, next);
        }
      }
    }
    /// The products of a row's piece with pieces k.
    __device__ void add(int r, const Piece<T>& input, int k) {
      float values[piece<T>];
      unpack(input, values);
#pragma unroll
      for (int o = 0; o < group_outs; ++o) {
        float weights[piece<T>];
        unpack(pieces[o][k], weights);
#pragma unroll
        for (int i = 0; i < piece<T>; ++i)
          sums[o * rows + r] = fmaf(weights[i], values[i], sums[o * rows + r]);
      }
    }

    __device__ int out_of(int) const { return lane / rows; }
    __device__ int row_of(int) const { return lane % rows; }
    __device__ bool stores_it(int) const { return warp % group_warps == 0 && lane < products; }
    /// Adds up what the lanes of the group have, in the order of its warps. Calls in a row give `turn` 0 and
    /// 1 in turn.
    __device__ void add_over_group(int turn) {
      __shared__ float memory[2][block_warps][products];
      auto& of_warps = memory[turn];
#pragma unroll
      for (int i = 0; i < products; ++i) {
        const float sum = warp_sum(sums[i]);
        if constexpr (group_warps > 1) {
          if (lane == 0) of_warps[warp][i] = sum;
        } else {
          if (lane == i) total = sum;
        }
      }
      if constexpr (group_warps > 1) {
        __syncthreads();
        if (!stores_it(0)) return;
        total = 0.0f;
#pragma unroll
        for (int w = 0; w < group_warps; ++w) total += of_warps[warp + w][lane];
      }
    }
    /// The sum that the lane stores.
    __device__ float value(int) const { return total; }
  };
};

/// Rows of a 16-bit T: sixteen outputs and all rows of the input are a product of tensor cores. A lane's
/// piece is its part of two products of 16 inputs, in an order of the inputs that is that of the input's
/// piece too.
template <class T>
struct TileWeight {
  using Capacities = std::integer_sequence<int, max_rows>;
  using NormCapacities = Capacities;
  static constexpr int blocks_abreast = 2;
  template <int rows>
  static constexpr int in_flight = 3;  // times what a warp reads at once
  static constexpr int min_group_warps = 4;
  static constexpr int group_outs = 16;
  static constexpr int piece_features = 4 * piece<T>;  // of a row, by four lanes
  static constexpr int pieces_abreast = 2;
  static constexpr int warp_features = pieces_abreast * piece_features;  // that a warp reads at once of a row

  const T* values;
  std::int64_t ld;

  /// What a lane holds of the weight, and its sums.
  template <int rows, int group_warps>
  struct Lane {
    static constexpr int stride = group_warps * warp_features;
    static constexpr int flight = in_flight<rows>;
    static constexpr int stores = 1;  // outputs that a lane stores
    static_assert(group_outs * rows <= 32 * group_warps);

    const Product<T>& p;
    const TileWeight& weight;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_first = warp % group_warps * warp_features, lane_first = lane % 4 * piece<T>;
    Piece<T> pieces[flight][pieces_abreast][2];  // of outputs lane / 4 and 8 behind it
    float sums[2][4];
    const float (*of_group)[rows][group_outs];

    __device__ Lane(const Product<T>& p, const TileWeight& weight) : p(p), weight(weight) {}

    /// Where the lane's parts of two rows are.
    struct Source {
      const T* from[2];
      int begin;

      __device__ Source(const Lane& l, const Next& next) : begin(next.begin + l.warp_first + l.lane_first) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = min(next.out + l.lane / 4 + 8 * half, l.p.out_features - 1);
          from[half] = l.weight.values + row * l.weight.ld + begin;
        }
      }
    };

    /// Zeros behind the rows' ends.
    __device__ void load(int k, const Source& source) {
#pragma unroll
      for (int i = 0; i < pieces_abreast; ++i) {
        const int at = k * stride + i * piece_features;
#pragma unroll
        for (int half = 0; half < 2; ++half)
          pieces[k][i][half] =
              source.begin + at < p.in_features ? load_weight(source.from[half] + at) : Piece<T>{};
      }
    }
    __device__ void load(const Next& next) {
      const Source source(*this, next);
#pragma unroll
      for (int k = 0; k < flight; ++k) load(k, source);
    }

    __device__ void clear() {
#pragma unroll
      for (auto& sum : sums) sum[0] = sum[1] = sum[2] = sum[3] = 0.0f;
    }
    /// Adds the products of all pieces, which begin at `begin`, and replaces them as they are used, if more
    /// is wanted.
    template <class Reader>
    __device__ void multiply(const Reader& x, int, int begin, const Next& next) {
      const Source source(*this, next);
      const int row = min(lane / 4, p.rows - 1), first = begin + warp_first;
      Piece<T> inputs[flight][pieces_abreast];
#pragma unroll
      for (int k = 0; k < flight; ++k) {
#pragma unroll
        for (int i = 0; i < pieces_abreast; ++i) {
          const int at = first + k * stride + i * piece_features + lane_first;
          inputs[k][i] = at < p.in_features ? x.piece(row, at) : Piece<T>{};
        }
      }
#pragma unroll
      for (int k = 0; k < flight; ++k) {
        if (first + k * stride < p.in_features) {
#pragma unroll
          for (int i = 0; i < pieces_abreast; ++i) add(pieces[k][i], inputs[k][i]);
        }
        if (next.wanted) load(k, source);
      }
    }
    /// The products of two outputs' pieces with the rows' pieces.
    __device__ void add(const Piece<T> (&of_outs)[2], const Piece<T>& input) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const std::uint32_t a[4] = {of_outs[0].words[2 * j], of_outs[1].words[2 * j],
                                    of_outs[0].words[2 * j + 1], of_outs[1].words[2 * j + 1]};
        mma_16816<T>(sums[j], a, input.words[2 * j], input.words[2 * j + 1]);
      }
    }

    __device__ int index() const { return warp % group_warps * 32 + lane; }
    __device__ int out_of(int) const { return index() % group_outs; }
    __device__ int row_of(int) const { return index() / group_outs; }
    __device__ bool stores_it(int) const { return index() < group_outs * rows; }
    /// Brings together what the warps of the group have. Calls in a row give `turn` 0 and 1 in turn.
    __device__ void add_over_group(int turn) {
      __shared__ float memory[2][block_warps][rows][group_outs];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = lane % 4 * 2 + i % 2;
        if (row < p.rows) memory[turn][warp][row][lane / 4 + i / 2 * 8] = sums[0][i] + sums[1][i];
      }
      __syncthreads();
      of_group = memory[turn] + warp / group_warps * group_warps;
    }
    /// The sum that the lane stores.
    __device__ float value(int) const {
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < group_warps; ++w) sum += of_group[w][row_of(0)][out_of(0)];
      return sum;
    }
  };
};

/// Whether a TileWeight is the faster one. A quarter of the multiprocessors must have a tile; and with one or
/// two rows its lanes must hold all that they read at once, as longer rows are bound by memory, which long
/// runs of few rows suit better.
template <class T>
bool prefers_tiles(const LinearShape& shape, int multiprocessors) {
  using Weight = TileWeight<T>;
  constexpr int held = block_warps * Weight::warp_features * Weight::template in_flight<max_rows>;
  return 4 * shape.out_features >= Weight::group_outs * multiprocessors &&
         (shape.rows > 2 || shape.in_features <= held);
}

/// Calls f with the weight.
template <class T, class F>
void with_dense_weight(Device device, const LinearArgs& args, const F& f) {
  const LinearShape shape = linear_shape(args);
  if constexpr (sizeof(T) == 2) {
    if (prefers_tiles<T>(shape, properties(device).multiprocessors))
      return f(TileWeight<T>{args.weight.data<T>(), shape.ldw});
  }
  f(DenseWeight<T>{args.weight.data<T>(), shape.ldw});
}

}  // namespace ophis::cuda::gemv
