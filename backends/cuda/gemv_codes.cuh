// A weight of codes for gemv.cuh. Sixteen outputs and the rows are a product of tensor cores in integers: the
// digits of the inputs (gemv_digits.cuh) meet the codes as they are, less the middle of their range. Sums are
// exact up to a block's end.
#pragma once

#include "backends/cuda/gemv_digits.cuh"
#include "backends/cuda/gemv_tiles.cuh"
#include "backends/cuda/parameter.cuh"
#include "ops/common/quantized.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis::cuda::gemv {

/// d (16, 8) += a (16, 32) b (32, 8), in integers.
__device__ __forceinline__ void mma_16832(int (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                          std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Scales or shifts, a row for every output.
struct Groups {
  const void* data;  // or nullptr
  int stride;        // elements from row to row
  DType dtype;

  explicit Groups(const Tensor& tensor)
      : data(tensor.raw()), stride(tensor ? static_cast<int>(tensor.stride(0)) : 0), dtype(tensor.dtype()) {}

  /// The bits of element i, to be converted when it is needed.
  template <bool any_dtype>
  __device__ std::uint32_t load(int i) const {
    if (any_dtype && dtype == DType::float32) return __ldg(static_cast<const std::uint32_t*>(data) + i);
    return __ldg(static_cast<const std::uint16_t*>(data) + i);
  }
  template <bool any_dtype>
  __device__ float value(std::uint32_t loaded) const {
    return any_dtype ? value_of(loaded, dtype) : value_of_half(loaded, dtype);
  }
};

/// `general`: with shifts, scales in float32, or groups of fewer inputs than a warp reads at once of a row.
template <class T, int bits, bool general>
struct CodeWeight {
  using Columns = DigitColumns<T, bits>;
  using Capacities =
      std::conditional_t<general, std::integer_sequence<int, 8>, std::integer_sequence<int, 1, 8>>;
  static constexpr int blocks_abreast = 2;
  template <int rows>
  static constexpr int in_flight = general ? 2 : (rows > 1 ? 3 : 5);  // pieces of a row, for a lane
  static constexpr int min_group_warps = general ? 8 : 4;
  static constexpr int group_outs = mma_outs;
  static constexpr int per_piece = Columns::piece;
  static constexpr int warp_features = 4 * per_piece;

  const std::uint8_t* codes;
  unsigned row_pieces;         // from row to row
  Groups scale, shift;         // shift may be none
  std::uint32_t group_factor;  // 2^31 / (pieces in a group), rounded up
  bool small_groups;           // the pieces that a warp reads at once are not of one group

  /// The group that a piece of a row is in.
  __device__ int group_of(unsigned piece) const {
    return static_cast<int>(__umulhi(2 * piece, group_factor));
  }

  template <int rows, int group_warps>
  struct Lane : TileLane<rows, group_warps> {
    using TileLane<rows, group_warps>::warp, TileLane<rows, group_warps>::lane;
    static constexpr int stride = group_warps * warp_features;
    static constexpr int flight = in_flight<rows>;
    static constexpr int row_columns = digits + 1;  // of a product; the last is not used
    static constexpr int tiles = (rows * row_columns + 7) / 8;

    const Product<T>& p;
    const CodeWeight& weight;
    const int warp_first = warp % group_warps * warp_features, lane_first = lane % 4 * per_piece;
    int digit_begin[tiles];   // of the inputs that the lane reads
    int scales_begin[tiles];  // of those that its sums are of
    uint4 codes[flight][2];   // of outputs lane / 4 and 8 behind it
    std::uint32_t scales[flight][2];
    int out;  // the tile's first
    float sums[tiles][4];

    __device__ Lane(const Product<T>& p, const CodeWeight& weight) : p(p), weight(weight) {}

    template <class Reader>
    __device__ void aim(const Reader&) {
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
        const int row = min(2 * t + lane / 16, p.rows - 1), digit = min(lane / 4 % 4, digits - 1);
        digit_begin[t] = Columns::digit_begin(p.in_features, row, digit) + lane_first;
        scales_begin[t] = Columns::scales_begin(p.in_features, min(sum_row(t), p.rows - 1));
        compute_now(digit_begin[t]);
        compute_now(scales_begin[t]);
      }
    }
    /// The row that the lane's sums are of.
    __device__ int sum_row(int t) const { return 2 * t + lane % 4 / 2; }
    /// Whether the lane has sums of rows.
    __device__ bool has_columns() const { return sum_row(0) < p.rows; }

    /// The lane's parts of two rows, and their scales, that are loaded next.
    struct Source {
      unsigned codes[2];
      int scales[2], begin;

      __device__ Source(const Lane& l, const Next& next) : begin(next.begin + l.warp_first) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const unsigned row = l.weight_row(next.out, half, l.p.out_features);
          codes[half] = row * l.weight.row_pieces + static_cast<unsigned>(begin + l.lane_first) / per_piece;
          scales[half] = static_cast<int>(row) * l.weight.scale.stride;
        }
      }
    };

    __device__ void load(const Next& next) {
      out = next.out;
#pragma unroll
      for (int k = 0; k < flight; ++k) codes[k][0] = codes[k][1] = uint4{}, scales[k][0] = scales[k][1] = 0;
      replace(next, Source(*this, next));
    }
    __device__ void replace(const Next& next, const Source& source) {
      if (!next.wanted) return;
#pragma unroll
      for (int k = 0; k < flight; ++k) load(k, source);
    }
    /// Behind the rows' ends, where inputs are zeros, what was there before stays.
    __device__ void load(int k, const Source& source) {
      const int begin = source.begin + k * stride, at = begin + lane_first;
      const bool small = general && weight.small_groups;
      const int group = weight.group_of(static_cast<unsigned>(small ? at : begin) / per_piece);
      const bool reads = at < p.in_features;
      const bool scaled = small ? reads : begin < p.in_features && has_columns();
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (reads) codes[k][half] = load_weight(weight.codes, source.codes[half] + k * (stride / per_piece));
        if (scaled) scales[k][half] = weight.scale.template load<general>(source.scales[half] + group);
      }
    }

    __device__ void clear() {
#pragma unroll
      for (auto& tile : sums) tile[0] = tile[1] = tile[2] = tile[3] = 0.0f;
    }

    /// As in DenseWeight.
    template <class Reader>
    __device__ void multiply(const Reader& x, int begin, const Next& next) {
      const Source source(*this, next);
      const int first = begin + warp_first;
      if (first >= p.in_features) {
        replace(next, source);
      } else {
#pragma unroll
        for (int k = 0; k < flight; ++k) {
          if (k == 0 || first + k * stride < p.in_features) add(x.memory, first + k * stride, k);
          if (next.wanted) load(k, source);
        }
      }
      out = next.out;
    }
    /// The products of pieces k, which begin at `begin`.
    __device__ void add(const char* inputs, int begin, int k) {
      if (general && weight.small_groups) {
#pragma unroll 1
        for (int part = 0; part < 4 && begin + part * per_piece < p.in_features; ++part)
          add_group<true>(inputs, begin, codes[k], scales[k], part);
      } else {
        add_group<false>(inputs, begin, codes[k], scales[k], 0);
      }
    }

    /// (word & 0xf0f0f0f0) ^ 0x80808080 in one instruction.
    __device__ static std::uint32_t upper_halves(std::uint32_t word) {
      std::uint32_t result;
      asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=r"(result) : "r"(word), "r"(0xf0f0f0f0u), "r"(0x80808080u));
      return result;
    }

    /// Adds the products of the warp's pieces, which begin at `begin`: of all of them, which are of one
    /// group, or, if others are masked, of number `part` of each four.
    template <bool masked>
    __device__ void add_group(const char* inputs, int begin, const uint4 (&of_rows)[2],
                              const std::uint32_t (&of_scales)[2], int part) {
      const std::uint32_t words[4][2] = {{of_rows[0].x, of_rows[1].x},
                                         {of_rows[0].y, of_rows[1].y},
                                         {of_rows[0].z, of_rows[1].z},
                                         {of_rows[0].w, of_rows[1].w}};
      int products[tiles][4] = {};
      const bool counts = !masked || lane % 4 == part;
      // With its highest bit inverted a code is, less the middle, in two's complement. One of 4 bits stands
      // in the upper half of a byte.
#pragma unroll
      for (int j = 0; j < 4; j += bits / 4) {
        std::uint32_t a[4];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if constexpr (bits == 8) {
            a[half] = words[j][half] ^ 0x80808080u;
            a[half + 2] = words[j + 1][half] ^ 0x80808080u;
          } else {
            a[half] = upper_halves(words[j][half] << 4);
            a[half + 2] = upper_halves(words[j][half]);
          }
        }
#pragma unroll
        for (int t = 0; t < tiles; ++t) {
          uint2 b = *reinterpret_cast<const uint2*>(inputs + digit_begin[t] + begin + j / (bits / 4) * 8);
          if (!counts) b = uint2{};
          mma_16832(products[t], a, b.x, b.y);
        }
      }
      float factors[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        std::uint32_t loaded = of_scales[half];
        if constexpr (masked) loaded = __shfl_sync(0xffffffffu, loaded, lane / 4 * 4 + part);
        factors[half] = weight.scale.template value<general>(loaded);
      }
      const int block = static_cast<int>(static_cast<unsigned>(begin) / staged_block);
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
        const float of_row = reinterpret_cast<const float*>(inputs + scales_begin[t])[block];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          sums[t][i] = fmaf(static_cast<float>(products[t][i]), of_row * factors[i / 2], sums[t][i]);
      }
      if (general && weight.shift.data) add_shifts<masked>(inputs, begin, part, factors);
    }

    /// What a sum of the lane stands for; its first digit is the first or the third of a row.
    __device__ float place(int digit) const {
      const float value = lane % 2 == 0 ? (digit == 0 ? 65536.0f : 256.0f) : (digit == 0 ? 1.0f : 0.0f);
      return bits == 4 ? value / 16 : value;
    }

    /// Where zero is not the middle code: what it is off, times the sums of the inputs.
    template <bool masked>
    __device__ void add_shifts(const char* inputs, int begin, int part, const float (&scales)[2]) {
      if (lane % 2 != 0) return;  // first digits are even lanes'
      const int piece = begin / per_piece, group = weight.group_of(static_cast<unsigned>(piece + part));
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
        const int row = min(sum_row(t), p.rows - 1);
        const auto* const totals =
            reinterpret_cast<const float*>(inputs + Columns::totals_begin(p.in_features, row)) + piece;
        const float total = masked ? totals[part] : (totals[0] + totals[1]) + (totals[2] + totals[3]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const auto row = static_cast<int>(this->weight_row(out, half, p.out_features));
          const int at = row * weight.shift.stride + group;
          const float shift = weight.shift.template value<true>(weight.shift.template load<true>(at));
          const float offset = fmaf(scales[half], middle_code(bits), shift);
          sums[t][2 * half] = fmaf(offset / place(0), total, sums[t][2 * half]);
        }
      }
    }

    __device__ void add_over_group(int turn) {
      this->meet(turn, [&](auto& of_warp) {
#pragma unroll
        for (int t = 0; t < tiles; ++t) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float sum = sums[t][2 * half] * place(0) + sums[t][2 * half + 1] * place(1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            if (lane % 2 == 0 && sum_row(t) < rows) of_warp[sum_row(t)][lane / 4 + 8 * half] = sum;
          }
        }
      });
    }
  };
};

inline int bits_of(const QuantizedLinearArgs& args) {
  return code_bits(args.x.extent(-1), args.weight.extent(1));
}

/// Bytes of shared memory for the rows, at most, so that two blocks share a multiprocessor of compute
/// capability 9.0; others have less, of which the kernels need some besides.
inline std::int64_t most_staged_bytes(Device device) {
  return std::min(96 << 10, properties(device).shared_memory_per_block - (12 << 10));
}

inline const char* why_not(Device device, const QuantizedLinearArgs& args) {
  const int bits = bits_of(args), piece = 128 / bits;
  if (const char* const reason = why_not(device, args, piece, args.x.dtype())) return reason;
  const LinearShape shape = linear_shape(args);
  const std::int64_t group_size = shape.in_features / args.weight_scale.extent(1);
  if (group_size % piece != 0) return "groups are small";
  const auto elements = [&](const Tensor& groups) {
    return groups ? shape.out_features * groups.stride(0) : 0;
  };
  if (std::max(elements(args.weight_scale), elements(args.weight_shift)) >= std::int64_t{1} << 30)
    return "an extent is beyond 30 bits";
  const std::int64_t most = most_staged_bytes(device);
  const int rows = static_cast<int>(shape.rows), in_features = static_cast<int>(shape.in_features);
  if (in_features > most || (bits == 8 ? DigitColumns<float, 8>::bytes(rows, in_features)
                                       : DigitColumns<float, 4>::bytes(rows, in_features)) > most)
    return "x does not fit in shared memory";
  return nullptr;
}

/// Calls f with the weight.
template <class T, class F>
void with_code_weight(const QuantizedLinearArgs& args, const F& f) {
  const LinearShape shape = linear_shape(args);
  const auto call = [&]<int bits, bool general>(std::integer_sequence<int, bits>,
                                                std::bool_constant<general>) {
    using Weight = CodeWeight<T, bits, general>;
    const std::int64_t group_size = shape.in_features / args.weight_scale.extent(1);
    const auto pieces = static_cast<std::uint32_t>(group_size / Weight::per_piece);
    f(Weight{args.weight.data<std::uint8_t>(), static_cast<unsigned>(shape.ldw / 16),
             Groups(args.weight_scale), Groups(args.weight_shift), ((1u << 31) + pieces - 1) / pieces,
             group_size != shape.in_features && group_size % Weight::warp_features != 0});
  };
  const auto call_with_bits = [&]<int bits>(std::integer_sequence<int, bits> of_code) {
    const std::int64_t groups = args.weight_scale.extent(1);
    const bool small_groups = groups > 1 && shape.in_features / groups % (512 / bits) != 0;
    if (args.weight_shift || args.weight_scale.dtype() == DType::float32 || small_groups)
      call(of_code, std::true_type{});
    else
      call(of_code, std::false_type{});
  };
  if (bits_of(args) == 8)
    call_with_bits(std::integer_sequence<int, 8>{});
  else
    call_with_bits(std::integer_sequence<int, 4>{});
}

template <class T, class Output>
void run_quantized(const char* name, ExecContext& exec, const QuantizedLinearArgs& args,
                   const Output& output) {
  with_code_weight<T>(args, [&]<class Weight>(const Weight& weight) {
    const Product<T> product = make_product<T>(args);
    using Input = StagedInput<T, typename Weight::Columns>;
    const Input input{{weight.shift.data != nullptr}, args.x.raw(), nullptr, 0.0f, false};
    launch(name, exec, product, weight, input, output,
           Input::shared_bytes(product.rows, product.in_features));
  });
}

}  // namespace ophis::cuda::gemv
