// Weights of numbers for gemv.cuh: by fused multiply-adds, or on tensor cores in a fraction of the
// instructions.
#pragma once

#include "backends/cuda/gemv_tiles.cuh"

namespace ophis::cuda::gemv {

/// Rows of T. Two outputs a group, whose rows a group's lanes read side by side.
template <class T>
struct DenseWeight {
  using Capacities = std::integer_sequence<int, 1, 2, 4, max_rows>;  // of rows, that kernels are made for
  static constexpr int blocks_abreast = 2;                           // on a multiprocessor
  template <int rows>
  static constexpr int in_flight = 5;  // pieces of a row, for a lane
  static constexpr int min_group_warps = 1;
  static constexpr int group_outs = 2;
  static constexpr int warp_features = 32 * piece<T>;  // that a warp reads at once of a row

  const T* values;
  unsigned row_pieces;  // from row to row

  __device__ Piece<T> load(unsigned at) const {
    const uint4 v = load_weight(values, at);
    return {v.x, v.y, v.z, v.w};
  }

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

    template <class Reader>
    __device__ void aim(const Reader&) {}

    /// The lane's pieces that are loaded next.
    struct Source {
      unsigned from[group_outs];
      int begin;

      __device__ Source(const Lane& l, const Next& next) : begin(next.begin + l.first) {
#pragma unroll
        for (int o = 0; o < group_outs; ++o) {
          const auto row = static_cast<unsigned>(min(next.out + o, l.p.out_features - 1));
          from[o] = row * l.weight.row_pieces + static_cast<unsigned>(begin) / piece<T>;
        }
      }
    };

    /// Pieces k of the rows of the group's outputs; zeros behind the rows' ends.
    __device__ void load(int k, const Source& source) {
      const bool inside = source.begin + k * stride < p.in_features;
#pragma unroll
      for (int o = 0; o < group_outs; ++o)
        pieces[o][k] = inside ? weight.load(source.from[o] + k * (stride / piece<T>)) : Piece<T>{};
    }
    __device__ void load(const Next& next) { replace(next, Source(*this, next)); }
    __device__ void replace(const Next& next, const Source& source) {
      if (!next.wanted) return;
#pragma unroll
      for (int k = 0; k < flight; ++k) load(k, source);
    }

    __device__ void clear() {
#pragma unroll
      for (int i = 0; i < products; ++i) sums[i] = 0.0f;
    }
    /// Adds the products of all pieces, which begin at `begin`, and replaces them as they are used, if more
    /// is wanted. A warp that has a piece multiplies its first one without a condition: only so does the
    /// compiler know that all have arrived, and later ones do not wait for those that replace the first.
    template <class Reader>
    __device__ void multiply(const Reader& x, int begin, const Next& next) {
      const Source source(*this, next);
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        const int row_begin = x.row_begin(min(r, p.rows - 1));
        Piece<T> of_row[flight];
#pragma unroll
        for (int k = 0; k < flight; ++k) {
          const int at = begin + first + k * stride;
          of_row[k] = at < p.in_features ? x.piece(row_begin, at) : Piece<T>{};
        }
        if (r == 0 && begin + warp_first >= p.in_features) return replace(next, source);
#pragma unroll
        for (int k = 0; k < flight; ++k) {
          if (k == 0 || begin + warp_first + k * stride < p.in_features) add(r, of_row[k], k);
          if (r == rows - 1 && next.wanted) load(k, source);
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
  static constexpr int blocks_abreast = 2;
  template <int rows>
  static constexpr int in_flight = 3;  // times what a warp reads at once
  static constexpr int min_group_warps = 4;
  static constexpr int group_outs = mma_outs;
  static constexpr int piece_features = 4 * piece<T>;  // of a row, by four lanes
  static constexpr int pieces_abreast = 2;
  static constexpr int warp_features = pieces_abreast * piece_features;  // that a warp reads at once of a row

  const T* values;
  unsigned row_pieces;  // from row to row

  __device__ Piece<T> load(unsigned at) const {
    const uint4 v = load_weight(values, at);
    return {v.x, v.y, v.z, v.w};
  }

  /// What a lane holds of the weight, and its sums.
  template <int rows, int group_warps>
  struct Lane : TileLane<rows, group_warps> {
    using TileLane<rows, group_warps>::warp, TileLane<rows, group_warps>::lane;
    static constexpr int stride = group_warps * warp_features;
    static constexpr int flight = in_flight<rows>;

    const Product<T>& p;
    const TileWeight& weight;
    const int warp_first = warp % group_warps * warp_features, lane_first = lane % 4 * piece<T>;
    int row_begin;                               // of the input
    Piece<T> pieces[flight][pieces_abreast][2];  // of outputs lane / 4 and 8 behind it
    float sums[2][4];

    __device__ Lane(const Product<T>& p, const TileWeight& weight) : p(p), weight(weight) {}

    template <class Reader>
    __device__ void aim(const Reader& x) {
      row_begin = x.row_begin(min(lane / 4, p.rows - 1));
      compute_now(row_begin);
    }

    /// The lane's parts of two rows that are loaded next.
    struct Source {
      unsigned from[2];
      int begin;

      __device__ Source(const Lane& l, const Next& next) : begin(next.begin + l.warp_first + l.lane_first) {
#pragma unroll
        for (int half = 0; half < 2; ++half)
          from[half] = l.weight_row(next.out, half, l.p.out_features) * l.weight.row_pieces +
                       static_cast<unsigned>(begin) / piece<T>;
      }
    };

    /// Zeros behind the rows' ends.
    __device__ void load(int k, const Source& source) {
#pragma unroll
      for (int i = 0; i < pieces_abreast; ++i) {
        const int at = k * stride + i * piece_features;
        const bool inside = source.begin + at < p.in_features;
#pragma unroll
        for (int half = 0; half < 2; ++half)
          pieces[k][i][half] = inside ? weight.load(source.from[half] + at / piece<T>) : Piece<T>{};
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
    /// is wanted. A warp that has a piece multiplies its first one without a condition: only so does the
    /// compiler know that all have arrived, and later ones do not wait for those that replace the first.
    template <class Reader>
    __device__ void multiply(const Reader& x, int begin, const Next& next) {
      const Source source(*this, next);
      const int first = begin + warp_first;
      Piece<T> inputs[flight][pieces_abreast];
#pragma unroll
      for (int k = 0; k < flight; ++k) {
        if (first + k * stride >= p.in_features) continue;
#pragma unroll
        for (int i = 0; i < pieces_abreast; ++i)
          inputs[k][i] = x.piece(row_begin, first + lane_first + k * stride + i * piece_features);
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

    __device__ void add_over_group(int turn) {
      this->meet(turn, [&](auto& of_warp) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = lane % 4 * 2 + i % 2;
          if (row < p.rows) of_warp[row][lane / 4 + i / 2 * 8] = sums[0][i] + sums[1][i];
        }
      });
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

inline const char* why_not(Device device, const LinearArgs& args) {
  const DType dtype = args.weight.dtype();
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  return why_not(device, args, 16 / size, dtype);
}

/// Calls f with the weight.
template <class T, class F>
void with_dense_weight(Device device, const LinearArgs& args, const F& f) {
  const LinearShape shape = linear_shape(args);
  const auto row_pieces = static_cast<unsigned>(shape.ldw / piece<T>);
  if constexpr (sizeof(T) == 2) {
    if (prefers_tiles<T>(shape, properties(device).multiprocessors))
      return f(TileWeight<T>{args.weight.data<T>(), row_pieces});
  }
  f(DenseWeight<T>{args.weight.data<T>(), row_pieces});
}

template <class T, class Output>
void run_dense(const char* name, ExecContext& exec, const LinearArgs& args, const Output& output) {
  with_dense_weight<T>(exec.device(), args, [&](const auto& weight) {
    const Product<T> product = make_product<T>(args);
    launch(name, exec, product, weight, PlainInput<T>{args.x.data<T>()}, output);
  });
}

}  // namespace ophis::cuda::gemv
