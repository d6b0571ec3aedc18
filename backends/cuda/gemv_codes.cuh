// A weight of codes for gemv.cuh. Sixteen outputs and the rows are a product of tensor cores in integers: an
// input becomes a fixed-point number of 23 bits, with a power of two for each block of a row, and so three
// columns of digits from -128 to 127, which meet the codes as they are, less the middle of their range. Sums
// are exact up to a block's end.
#pragma once

#include "backends/cuda/gemv_staged_input.cuh"
#include "backends/cuda/tensor_core.cuh"
#include "ops/common/quantized.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis::cuda::gemv {

inline constexpr int digits = 3;
inline constexpr int row_columns = 4;  // the fourth is not used

/// Rows as digits, in the order in which codes come out of their words.
template <class T, int bits>
struct DigitColumns {
  static constexpr int block = 128;         // inputs that have a scale in common: those of a warp's fours
  static constexpr int piece = 128 / bits;  // that a lane reads at once

  bool with_totals;  // of pieces

  __host__ __device__ static int blocks(std::int64_t in_features) {
    return static_cast<int>((in_features + block - 1) / block);
  }
  __host__ __device__ static int padded(std::int64_t in_features) { return blocks(in_features) * block; }
  /// Bytes from digit to digit, which begin in other banks of shared memory.
  __host__ __device__ static int stride(std::int64_t in_features) {
    return padded(in_features) + (bits == 8 ? 64 : 16);
  }
  __host__ __device__ static std::int64_t bytes(std::int64_t rows, std::int64_t in_features) {
    return rows * (digits * stride(in_features) + (block / piece + 1) * 4 * blocks(in_features));
  }

  __device__ static const std::int8_t* column(const void* memory, int in_features, int row, int digit) {
    return static_cast<const std::int8_t*>(memory) + (row * digits + digit) * stride(in_features);
  }
  /// Behind the digits: sums of pieces, (rows, pieces), and the scales of blocks, (rows, blocks).
  __device__ static float* totals(const void* memory, int rows, int in_features, int row) {
    char* const behind = static_cast<char*>(const_cast<void*>(memory)) + rows * digits * stride(in_features);
    return reinterpret_cast<float*>(behind) + row * (padded(in_features) / piece);
  }
  __device__ static float* scales(const void* memory, int rows, int in_features, int row) {
    return totals(memory, rows, in_features, rows) + row * blocks(in_features);
  }

  __device__ void store(void* memory, const Product<T>& p, int row, int at, const float (&values)[4]) const {
    // The largest as an integer, so that it is NaN where one is.
    std::uint32_t most = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) most = max(most, __float_as_uint(values[i]) & 0x7fffffffu);
    most = __reduce_max_sync(0xffffffffu, most);
    const std::uint32_t exponent = max(most >> 23, 27u);  // biased
    const float factor = __uint_as_float((275u - exponent) << 23);

    // An integer plus 128 in each digit's place has the digits, plus 128, as its bytes.
    std::uint32_t q[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      q[i] = (static_cast<std::uint32_t>(__float2int_rn(values[i] * factor)) + 0x808080u) ^ 0x808080u;
    if (bits == 4) {
      const std::uint32_t second = q[1];
      q[1] = q[2], q[2] = second;
    }
    const std::uint32_t low01 = __byte_perm(q[0], q[1], 0x5140), low23 = __byte_perm(q[2], q[3], 0x5140);
    const std::uint32_t high01 = __byte_perm(q[0], q[1], 0x0062), high23 = __byte_perm(q[2], q[3], 0x0062);
    const std::uint32_t words[digits] = {__byte_perm(high01, high23, 0x5410),
                                         __byte_perm(low01, low23, 0x7632),
                                         __byte_perm(low01, low23, 0x5410)};
    if (at < padded(p.in_features)) {
#pragma unroll
      for (int d = 0; d < digits; ++d) {
        auto* const to = const_cast<std::int8_t*>(column(memory, p.in_features, row, d));
        if constexpr (bits == 8) {
          *reinterpret_cast<std::uint32_t*>(to + at) = words[d];
        } else {  // codes 0, 2, 4, 6 of a word, then 1, 3, 5, 7
          auto* const halves = reinterpret_cast<std::uint16_t*>(to + at / 8 * 8 + at % 8 / 2);
          halves[0] = static_cast<std::uint16_t>(words[d]);
          halves[2] = static_cast<std::uint16_t>(words[d] >> 16);
        }
      }
      constexpr std::uint32_t infinity = 0x7f800000u, nan = 0x7fffffffu;
      if (at % block == 0)
        scales(memory, p.rows, p.in_features, row)[at / block] =
            __uint_as_float(most < infinity ? (exponent - 21u) << 23 : nan);
    }
    if (with_totals) {
      float total = (values[0] + values[1]) + (values[2] + values[3]);
#pragma unroll
      for (int lanes = piece / 8; lanes > 0; lanes /= 2) total += __shfl_xor_sync(0xffffffffu, total, lanes);
      if (at % piece == 0 && at < padded(p.in_features))
        totals(memory, p.rows, p.in_features, row)[at / piece] = total;
    }
  }
};

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
    if (any_dtype && dtype == DType::float32) return __uint_as_float(loaded);
    if (dtype == DType::bfloat16) return __uint_as_float(loaded << 16);
    return __half2float(__ushort_as_half(static_cast<unsigned short>(loaded)));
  }
};

/// `general`: with shifts, scales in float32, or groups of fewer inputs than a warp reads at once of a row.
template <class T, int bits, bool general>
struct CodeWeight {
  using Columns = DigitColumns<T, bits>;
  using Capacities =
      std::conditional_t<general, std::integer_sequence<int, 8>, std::integer_sequence<int, 1, 8>>;
  using NormCapacities = Capacities;
  static constexpr int blocks_abreast = 2;
  template <int rows>
  static constexpr int in_flight = general ? 2 : (rows > 1 ? 3 : 5);  // pieces of a row, for a lane
  static constexpr int min_group_warps = general ? 8 : 4;
  static constexpr int group_outs = 16;
  static constexpr int per_piece = Columns::piece;
  static constexpr int warp_features = 4 * per_piece;

  const std::uint8_t* codes;
  std::int64_t stride;         // bytes from row to row
  Groups scale, shift;         // shift may be none
  std::uint32_t group_factor;  // 2^31 / (pieces in a group), rounded up
  bool small_groups;           // the pieces that a warp reads at once are not of one group

  /// The group that a piece of a row is in.
  __device__ int group_of(unsigned piece) const {
    return static_cast<int>(__umulhi(2 * piece, group_factor));
  }

  template <int rows, int group_warps>
  struct Lane {
    static constexpr int stride = group_warps * warp_features;
    static constexpr int flight = in_flight<rows>;
    static constexpr int columns = rows * row_columns;
    static constexpr int tiles = (columns + 7) / 8;
    static constexpr int group_lanes = 32 * group_warps;
    static constexpr int stores = (group_outs * rows + group_lanes - 1) / group_lanes;

    const Product<T>& p;
    const CodeWeight& weight;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_first = warp % group_warps * warp_features, lane_first = lane % 4 * per_piece;
    uint4 codes[flight][2];  // of outputs lane / 4 and 8 behind it
    std::uint32_t scales[flight][2];
    float sums[tiles][4];
    const float (*of_group)[columns][group_outs];

    __device__ Lane(const Product<T>& p, const CodeWeight& weight) : p(p), weight(weight) {}

    /// The lane's row of the weight, of two.
    __device__ int weight_row(int out, int half) const {
      return min(out + lane / 4 + 8 * half, p.out_features - 1);
    }
    /// Whether the lane has sums of rows.
    __device__ bool has_columns() const { return lane % 4 / 2 < p.rows; }

    /// Where the lane's parts of two rows are.
    struct Source {
      const uint4* codes[2];
      int scales[2], begin;
      bool wanted;

      __device__ Source(const Lane& l, const Next& next)
          : begin(next.begin + l.warp_first), wanted(next.wanted) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = l.weight_row(next.out, half);
          codes[half] = reinterpret_cast<const uint4*>(l.weight.codes + row * l.weight.stride) +
                        (begin + l.lane_first) / per_piece;
          scales[half] = row * l.weight.scale.stride;
        }
      }
    };

    __device__ void load(const Next& next) {
      const Source source(*this, next);
#pragma unroll
      for (int k = 0; k < flight; ++k) {
        codes[k][0] = codes[k][1] = uint4{}, scales[k][0] = scales[k][1] = 0;
        load(k, source);
      }
    }
    /// Behind the rows' ends, where inputs are zeros, what was there before stays.
    __device__ void load(int k, const Source& from) {
      const int begin = from.begin + k * stride, at = begin + lane_first;
      const bool small = general && weight.small_groups;
      const int group = weight.group_of(static_cast<unsigned>(small ? at : begin) / per_piece);
      const bool reads = from.wanted && at < p.in_features;
      const bool scaled = small ? reads : from.wanted && begin < p.in_features && has_columns();
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (reads) codes[k][half] = __ldcs(from.codes[half] + k * (stride / per_piece));
        if (scaled) scales[k][half] = weight.scale.template load<general>(from.scales[half] + group);
      }
    }

    __device__ void clear() {
#pragma unroll
      for (auto& tile : sums) tile[0] = tile[1] = tile[2] = tile[3] = 0.0f;
    }

    template <class Reader>
    __device__ void multiply(const Reader& x, int out, int begin, const Next& next) {
      const Source source(*this, next);
#pragma unroll
      for (int k = 0; k < flight; ++k) {
        const int at = begin + k * stride + warp_first;
        if (at < p.in_features) {
          if (!general || !weight.small_groups) {
            add_group<false>(x, out, at, codes[k], scales[k], 0);
          } else {
#pragma unroll 1
            for (int part = 0; part < 4; ++part) add_group<true>(x, out, at, codes[k], scales[k], part);
          }
        }
        load(k, source);
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
    template <bool masked, class Reader>
    __device__ void add_group(const Reader& x, int out, int begin, const uint4 (&of_rows)[2],
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
          const int row = min(2 * t + lane / 16, p.rows - 1), digit = min(lane / 4 % 4, digits - 1);
          const auto* const from = Columns::column(x.memory, p.in_features, row, digit) + begin + lane_first;
          uint2 b = *reinterpret_cast<const uint2*>(from + j / (bits / 4) * 8);
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
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
        const int row = min(2 * t + lane % 4 / 2, p.rows - 1);
        const float of_row = Columns::scales(x.memory, p.rows, p.in_features,
                                             row)[static_cast<unsigned>(begin) / Columns::block];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          sums[t][i] = fmaf(static_cast<float>(products[t][i]), of_row * factors[i / 2], sums[t][i]);
      }
      if (general && weight.shift.data) add_shifts<masked>(x, out, begin, part, factors);
    }

    /// What the sum of a row's digit stands for.
    __device__ static float place(int digit) {
      const float value = digit == 0 ? 65536.0f : digit == 1 ? 256.0f : digit == 2 ? 1.0f : 0.0f;
      return bits == 4 ? value / 16 : value;
    }

    /// Where zero is not the middle code: what it is off, times the sums of the inputs.
    template <bool masked, class Reader>
    __device__ void add_shifts(const Reader& x, int out, int begin, int part, const float (&scales)[2]) {
      if (lane % 2 != 0) return;  // first digits are even lanes'
      const int group = weight.group_of(static_cast<unsigned>(begin) / per_piece + part);
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
        const int row = min(2 * t + lane % 4 / 2, p.rows - 1);
        const float* const totals = Columns::totals(x.memory, p.rows, p.in_features, row) + begin / per_piece;
        const float total = masked ? totals[part] : (totals[0] + totals[1]) + (totals[2] + totals[3]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int at = weight_row(out, half) * weight.shift.stride + group;
          const float shift = weight.shift.template value<true>(weight.shift.template load<true>(at));
          const float offset = fmaf(scales[half], middle_code(bits), shift);
          sums[t][2 * half] = fmaf(offset / place(0), total, sums[t][2 * half]);
        }
      }
    }

    /// A lane stores outputs i group_lanes behind one another, outputs of a row side by side.
    __device__ int index(int i) const { return i * group_lanes + warp % group_warps * 32 + lane; }
    __device__ int out_of(int i) const { return index(i) % group_outs; }
    __device__ int row_of(int i) const { return index(i) / group_outs; }
    __device__ bool stores_it(int i) const { return index(i) < group_outs * rows; }
    __device__ void add_over_group(int turn) {
      __shared__ float memory[2][block_warps][columns][group_outs];
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int column = 8 * t + lane % 4 * 2 + i % 2;
          if (column >= columns) continue;
          memory[turn][warp][column][lane / 4 + i / 2 * 8] = sums[t][i] * place(column % 4);
        }
      }
      __syncthreads();
      of_group = memory[turn] + warp / group_warps * group_warps;
    }
    __device__ float value(int i) const {
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < group_warps; ++w) {
#pragma unroll
        for (int d = 0; d < digits; ++d) sum += of_group[w][row_of(i) * row_columns + d][out_of(i)];
      }
      return sum;
    }
  };
};

inline int bits_of(const QuantizedLinearArgs& args) {
  return code_bits(args.x.extent(-1), args.weight.extent(1));
}

/// Bytes of shared memory for the rows, at most.
inline constexpr std::int64_t staged_bytes = 96 << 10;

inline std::int64_t staged_bytes_of(int bits, std::int64_t rows, std::int64_t in_features) {
  return bits == 8 ? DigitColumns<float, 8>::bytes(rows, in_features)
                   : DigitColumns<float, 4>::bytes(rows, in_features);
}

inline const char* why_not(Device device, const QuantizedLinearArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  const LinearShape shape = linear_shape(args);
  if (shape.rows > max_rows) return "many rows: bound by arithmetic";
  const int bits = bits_of(args);
  if (shape.in_features > staged_bytes || staged_bytes_of(bits, shape.rows, shape.in_features) > staged_bytes)
    return "x does not fit in shared memory";
  if (shape.in_features % (128 / bits) != 0 || !is_aligned(args.x, shape.rows > 1 ? shape.ldx : 0) ||
      !is_aligned(args.weight, shape.ldw))
    return "rows of x or weight are not aligned to 16 bytes";
  const std::int64_t group_size = shape.in_features / args.weight_scale.extent(1);
  if (group_size % (128 / bits) != 0) return "groups are small";
  if (args.bias && (args.bias.stride(0) != 1 ||
                    (args.bias.dtype() != DType::float32 && args.bias.dtype() != args.x.dtype())))
    return "bias is neither dense float32 nor dense and of x's dtype";
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  const auto elements = [&](const Tensor& groups) {
    return groups ? shape.out_features * groups.stride(0) : 0;
  };
  if (shape.out_features >= limit || elements(args.weight_scale) >= limit ||
      elements(args.weight_shift) >= limit)
    return "an extent is beyond 30 bits";
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
    f(Weight{args.weight.data<std::uint8_t>(), shape.ldw, Groups(args.weight_scale),
             Groups(args.weight_shift), ((1u << 31) + pieces - 1) / pieces,
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
    using Input = StagedInput<T, typename Weight::Columns>;
    const Product<T> product = make_product<T>(args);
    const Input input{{weight.shift.data != nullptr}, args.x.raw(), nullptr, 0.0f, false};
    launch(name, exec, product, weight, input, output,
           static_cast<int>(Input::shared_bytes(product.rows, product.in_features)));
  });
}

}  // namespace ophis::cuda::gemv
