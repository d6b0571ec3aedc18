// The portable kernels of quantized_linear: dot products with the codes as they are read, which is what a
// step of generation needs, and, for many rows, the weight made whole again in panels, which linear
// multiplies.
#pragma once

#include <utility>

#include "ophis/core/kokkos.hpp"
#include "ophis/core/simd.hpp"
#include "ops/common/quantized_rows.hpp"
#include "ops/common/strided.hpp"
#include "ops/linear/store_outputs.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"

namespace ophis::quantized_linear_kokkos {

/// Codes are read as blocks of W words of 32 bits, a lane for each word. Place k of all words is W codes,
/// which are not shifted down: masked they are 2^(bits * k) times their value, and the inputs that they meet
/// are divided by that. Only the last place is shifted, since it would be the sign.
template <int bits, int W>
struct Blocks {
  static constexpr int places = 32 / bits;
  static constexpr int features = places * W;
  static constexpr std::uint32_t mask = (1u << bits) - 1;
  /// Floats of a prepared block of x: W sums over the places of a word, then W inputs for every place.
  static constexpr int prepared = (places + 1) * W;

  static constexpr std::int64_t count(std::int64_t in_features) {
    return (in_features + features - 1) / features;
  }
};

/// Brings x into that order. One item: a block of a row.
template <class T, int bits, int W>
struct Prepare {
  using B = Blocks<bits, W>;
  const T* x;
  float* prepared;
  std::int64_t ldx, in_features, blocks;
  float sum_factor;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const std::int64_t row = item / blocks, begin = item % blocks * B::features;
    float inputs[B::features];
    for (int i = 0; i < B::features; i += W) {
      const std::int64_t rest = in_features - begin - i;
      const int count = rest <= 0 ? 0 : rest < W ? static_cast<int>(rest) : W;
      store(inputs + i, load<W>(x + row * ldx + begin + i, 1, count));
    }
    float* const to = prepared + item * B::prepared;
    for (int lane = 0; lane < W; ++lane) to[lane] = 0.0f;
    float place_value = 1.0f;
    for (int k = 0; k < B::places; ++k, place_value /= 1 << bits) {
      for (int lane = 0; lane < W; ++lane) {
        const float input = inputs[lane * B::places + k];
        to[lane] += sum_factor * input;
        to[(k + 1) * W + lane] = k + 1 < B::places ? input * place_value : input;
      }
    }
  }
};

/// One item: block_rows x block_outs outputs.
template <class Scale, int bits, int W>
struct Dots {
  using B = Blocks<bits, W>;
  static constexpr bool on_gpu = W == 1;  // there a group of threads takes one output
  static constexpr int group_threads = 32;
  static constexpr int block_rows = on_gpu ? 1 : 16;
  static constexpr int block_outs = on_gpu ? 1 : 32;

  const float* x;  // prepared
  const std::uint8_t* codes;
  const Scale* scale;
  const float* shift;  // or nullptr
  const float* bias;   // or nullptr
  void* out;
  DType out_dtype;
  bool accumulate;
  LinearShape shape;  // ldw in bytes
  std::int64_t scale_stride, shift_stride;
  std::int64_t group_size, groups, row_blocks, blocks;

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t item, const Group& group = {}) const {
    const std::int64_t row_begin = item % row_blocks * block_rows;
    const std::int64_t out_begin = item / row_blocks * block_outs;
    const std::int64_t row_end = Kokkos::min<std::int64_t>(shape.rows, row_begin + block_rows);
    const std::int64_t out_end = Kokkos::min<std::int64_t>(shape.out_features, out_begin + block_outs);
    std::int64_t o = out_begin;
    if constexpr (!on_gpu) {
      for (; o + 4 <= out_end; o += 4) {
        std::int64_t r = row_begin;
        for (; r + 4 <= row_end; r += 4) {
          dots<2, 4>(r, o, group);
          dots<2, 4>(r, o + 2, group);
        }
        for (; r + 2 <= row_end; r += 2) dots<4, 2>(r, o, group);
        for (; r < row_end; ++r) dots<4, 1>(r, o, group);
      }
    }
    for (; o < out_end; ++o) {
      for (std::int64_t r = row_begin; r < row_end; ++r) dots<1, 1>(r, o, group);
    }
  }

  /// The values of the groups that a block's words belong to, in their lanes. `from` is the row's first.
  template <class T>
  KOKKOS_FORCEINLINE_FUNCTION Pack<W> of_words(const T* from, std::int64_t block) const {
    float lanes[W];
    if constexpr (W % 4 == 0) {  // four groups of four words or more, as many formats have it
      if (group_size == W / 4 * B::places && 4 * (block + 1) <= groups) {
        for (int lane = 0; lane < W; ++lane)
          lanes[lane] = static_cast<float>(from[4 * block + lane / (W / 4)]);
        return load<W>(lanes);
      }
    }
    for (int lane = 0; lane < W; ++lane) {
      const std::int64_t group = (block * B::features + lane * B::places) / group_size;
      lanes[lane] = static_cast<float>(from[Kokkos::min(group, groups - 1)]);
    }
    return load<W>(lanes);
  }

  /// Adds the products of a block of N rows of the weight, from `codes` on, with a block of R rows of x.
  template <int N, int R>
  KOKKOS_FORCEINLINE_FUNCTION void add_block(Pack<W> (&sums)[N][R], const std::uint8_t* from,
                                             std::int64_t stride, const float* inputs) const {
    const std::int64_t next_row = blocks * B::prepared;
    detail::Vector<std::uint32_t, W> words[N];
    for (int j = 0; j < N; ++j) words[j] = words_at(from + j * stride);
    if (!shift) {  // then the sums stand for the middle of the codes
      for (int i = 0; i < R; ++i) {
        const Pack<W> middle = load<W>(inputs + i * next_row);
        for (int j = 0; j < N; ++j) sums[j][i] += middle;
      }
    }
    add_places<N, R>(sums, words, inputs, next_row, std::make_integer_sequence<int, B::places>{});
  }

  KOKKOS_FORCEINLINE_FUNCTION static detail::Vector<std::uint32_t, W> words_at(const std::uint8_t* from) {
    if constexpr (on_gpu) {  // which would read bytes one by one
      if (reinterpret_cast<std::uintptr_t>(from) % 4 == 0)
        return *reinterpret_cast<const std::uint32_t*>(from);
    }
    detail::Vector<std::uint32_t, W> words;
    detail::copy_bytes(&words, from, sizeof words);
    return words;
  }

  /// The same of all places k of the words; unrolled, so that masks and shifts are constants.
  template <int N, int R, int... k>
  KOKKOS_FORCEINLINE_FUNCTION void add_places(Pack<W> (&sums)[N][R],
                                              const detail::Vector<std::uint32_t, W> (&words)[N],
                                              const float* inputs, std::int64_t next_row,
                                              std::integer_sequence<int, k...>) const {
    (add_place<N, R, k>(sums, words, inputs + (k + 1) * W, next_row), ...);
  }
  template <int N, int R, int k>
  KOKKOS_FORCEINLINE_FUNCTION void add_place(Pack<W> (&sums)[N][R],
                                             const detail::Vector<std::uint32_t, W> (&words)[N],
                                             const float* inputs, std::int64_t next_row) const {
    Pack<W> input[R];
    for (int i = 0; i < R; ++i) input[i] = load<W>(inputs + i * next_row);
    for (int j = 0; j < N; ++j) {
      const Pack<W> code =
          to_floats<W>(k + 1 < B::places ? words[j] & (B::mask << (bits * k)) : words[j] >> (32 - bits));
      for (int i = 0; i < R; ++i) sums[j][i] = fma(code, input[i], sums[j][i]);
    }
  }

  /// How many of the blocks that have a scale in common a thread takes at once. On a GPU it is few, 16 bytes
  /// of codes, so that a row suffices for a group of threads.
  KOKKOS_FUNCTION static std::int64_t run_of(std::int64_t blocks_with_scale) {
    return on_gpu && blocks_with_scale % 4 == 0 ? 4 : blocks_with_scale;
  }

  /// N neighbouring outputs of R neighbouring rows.
  template <int N, int R, class Group>
  KOKKOS_FUNCTION void dots(std::int64_t r, std::int64_t o, const Group& group) const {
    constexpr std::int64_t block_bytes = 4 * W;
    const std::int64_t whole_blocks = shape.in_features / B::features;
    const bool uniform = group_size % B::features == 0;
    const std::int64_t run = run_of(uniform ? group_size / B::features : 1);
    // Rows are short streams, which the hardware sees too late.
    constexpr std::int64_t bytes_ahead = 4096;
    const std::int64_t ahead = (bytes_ahead / (N * shape.ldw) + 1) * N * shape.ldw;
    const std::uint8_t* const row_codes = codes + o * shape.ldw;
    const float* const inputs = x + r * blocks * B::prepared;
    Pack<W> sums[N][R];
    for (int j = 0; j < N; ++j) {
      for (int i = 0; i < R; ++i) sums[j][i] = Pack<W>(0.0f);
    }
    // Runs of blocks that have their scales in common.
    std::int64_t g = 0;
    for (std::int64_t first = group.rank() * run; first < blocks; first += group.size() * run, ++g) {
      if constexpr (on_gpu)
        g = static_cast<std::uint32_t>(first * B::features) / static_cast<std::uint32_t>(group_size);
      Pack<W> of_run[N][R];
      for (int j = 0; j < N; ++j) {
        for (int i = 0; i < R; ++i) of_run[j][i] = Pack<W>(0.0f);
      }
      const std::int64_t last = Kokkos::min(first + run, whole_blocks);
      for (std::int64_t b = first; b < last; ++b) {
        for (int j = 0; j < N; ++j) prefetch<W>(row_codes + j * shape.ldw + ahead + b * block_bytes);
        add_block<N, R>(of_run, row_codes + b * block_bytes, shape.ldw, inputs + b * B::prepared);
      }
      if (last < first + run && last < blocks) {  // words behind the row's end are zeros
        std::uint8_t padded[N * block_bytes] = {};
        const std::int64_t rest = shape.in_features * bits / 8 - last * block_bytes;
        for (int j = 0; j < N; ++j) {
          for (std::int64_t i = 0; i < rest; ++i)
            padded[j * block_bytes + i] = row_codes[j * shape.ldw + last * block_bytes + i];
        }
        add_block<N, R>(of_run, padded, block_bytes, inputs + last * B::prepared);
      }
      for (int j = 0; j < N; ++j) {
        const Scale* const scales = scale + (o + j) * scale_stride;
        const Pack<W> by = uniform ? Pack<W>(static_cast<float>(scales[g])) : of_words(scales, first);
        for (int i = 0; i < R; ++i) sums[j][i] = fma(by, of_run[j][i], sums[j][i]);
      }
      if (!shift) continue;
      for (int j = 0; j < N; ++j) {
        const float* const shifts = shift + (o + j) * shift_stride;
        const Pack<W> by = uniform ? Pack<W>(shifts[g]) : of_words(shifts, first);
        for (std::int64_t b = first; b < Kokkos::min(first + run, blocks); ++b) {
          for (int i = 0; i < R; ++i) {
            const Pack<W> totals = load<W>(inputs + (i * blocks + b) * B::prepared);
            sums[j][i] = fma(by, totals, sums[j][i]);
          }
        }
      }
    }
    for (int j = 0; j < N; ++j) {
      for (int i = 0; i < R; ++i) {
        const float sum = group.sum(reduce_add(sums[j][i])) + (bias ? bias[o + j] : 0.0f);
        if (group.rank() == 0) store_output((r + i) * shape.ldout + o + j, Pack<1>(sum));
      }
    }
  }

  KOKKOS_FUNCTION void store_output(std::int64_t at, Pack<1> sum) const {
    if (out_dtype == DType::bfloat16)
      store_outputs(static_cast<bfloat16*>(out) + at, 1, sum, accumulate);
    else if (out_dtype == DType::float16)
      store_outputs(static_cast<float16*>(out) + at, 1, sum, accumulate);
    else
      store_outputs(static_cast<float*>(out) + at, 1, sum, accumulate);
  }
};

/// Rows from `begin` on of a weight as T, dense. One item: a row; on a GPU eight elements, so that threads
/// write side by side.
template <class T, int W>
struct Dequantize {
  QuantizedRows weight;
  T* to;
  std::int64_t begin;

  KOKKOS_FUNCTION std::int64_t size() const { return W == 1 ? eight : weight.in_features; }
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    if constexpr (W == 1) {
      // A panel's elements are numbered in 32 bits, which divide faster.
      const auto i = static_cast<std::uint32_t>(item);
      const auto per_row = static_cast<std::uint32_t>(weight.in_features / eight);
      const std::int64_t row = i / per_row, feature = i % per_row * eight;
      dequantize_eight(begin + row, feature, to + row * weight.in_features + feature);
    } else {
      T* const row = to + item * weight.in_features;
      for (std::int64_t feature = 0; feature < weight.in_features; feature += weight.group_size)
        weight.dequantize<T, W>(begin + item, feature, feature + weight.group_size, row + feature);
    }
  }

 private:
  static constexpr int eight = 8;

  /// A GPU's thread: as few accesses as can be, the elements in one or two.
  KOKKOS_FUNCTION void dequantize_eight(std::int64_t o, std::int64_t feature, T* at) const {
    struct alignas(eight * sizeof(T)) Eight {
      T lanes[eight];
    };
    const std::uint8_t* const from = weight.codes + o * weight.stride + feature * weight.bits / 8;
    const bool aligned = reinterpret_cast<std::uintptr_t>(from) % 4 == 0;
    std::uint32_t words[2] = {};
    for (int w = 0; w < weight.bits / 4; ++w) {
      if (aligned) {
        words[w] = *reinterpret_cast<const std::uint32_t*>(from + 4 * w);
      } else {
        for (int i = 0; i < 4; ++i) words[w] |= static_cast<std::uint32_t>(from[4 * w + i]) << (8 * i);
      }
    }
    const QuantizedRows::Group group =
        weight.group(o, static_cast<std::uint32_t>(feature) / static_cast<std::uint32_t>(weight.group_size));
    Eight values;
    for (int i = 0; i < eight; ++i) {
      const std::uint32_t code =
          weight.bits == 8 ? (words[i / 4] >> (8 * (i % 4))) & 255u : (words[0] >> (4 * i)) & 15u;
      store(values.lanes + i, Pack<1>(Kokkos::fma(static_cast<float>(code), group.scale, group.shift)));
    }
    *reinterpret_cast<Eight*>(at) = values;
  }
};

/// x in the kernels' order, for the lanes of a space.
template <int bits, class Space>
float* prepare(ExecContext& exec, const Space& space, const QuantizedLinearArgs& args) {
  constexpr int W = pack_width<Space>;
  using B = Blocks<bits, W>;
  const LinearShape shape = linear_shape(args);
  const std::int64_t blocks = B::count(shape.in_features), count = shape.rows * blocks;
  float* const prepared = exec.workspace().take<float>(count * B::prepared);
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    const float sum_factor = args.weight_shift ? 1.0f : -middle_code(bits);
    const Prepare<T, bits, W> kernel{args.x.data<T>(),  prepared, shape.ldx,
                                     shape.in_features, blocks,   sum_factor};
    for_each_element(space, "ophis::quantized_linear::prepare", count, kernel);
  });
  return prepared;
}

template <int bits>
void run_dots(ExecContext& exec, const QuantizedLinearArgs& args) {
  const Tensor bias = as_dense_float32(exec, args.bias);
  const LinearShape shape = linear_shape(args);
  with_exec_space(exec, [&](const auto& space) {
    using Space = std::remove_cvref_t<decltype(space)>;
    const float* const x = prepare<bits>(exec, space, args);
    dispatch_compute_dtype(args.weight_scale.dtype(), [&]<class Scale>(std::type_identity<Scale>) {
      using K = Dots<Scale, bits, pack_width<Space>>;
      const std::int64_t row_blocks = (shape.rows + K::block_rows - 1) / K::block_rows;
      const std::int64_t out_blocks = (shape.out_features + K::block_outs - 1) / K::block_outs;
      const K kernel{x,
                     args.weight.data<std::uint8_t>(),
                     args.weight_scale.data<Scale>(),
                     args.weight_shift ? args.weight_shift.data<float>() : nullptr,
                     bias ? bias.data<float>() : nullptr,
                     args.out.raw(),
                     args.out.dtype(),
                     args.accumulate,
                     shape,
                     args.weight_scale.stride(0),
                     args.weight_shift ? args.weight_shift.stride(0) : 0,
                     shape.in_features / args.weight_scale.extent(1),
                     args.weight_scale.extent(1),
                     row_blocks,
                     K::B::count(shape.in_features)};
      const std::int64_t items = row_blocks * out_blocks;
      if constexpr (K::on_gpu)
        for_each_group<K::group_threads>(space, "ophis::quantized_linear", items, kernel);
      else
        for_each_item(space, "ophis::quantized_linear", items, kernel);
    });
  });
}

inline void run(ExecContext& exec, const QuantizedLinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  if (code_bits(args.x.extent(-1), args.weight.extent(1)) == 8)
    run_dots<8>(exec, args);
  else
    run_dots<4>(exec, args);
}

inline const char* why_not_dequantized(Device, const QuantizedLinearArgs& args) {
  if (linear_shape(args).rows <= quantized_linear_few_rows) return "few rows: bound by reading the weight";
  return nullptr;
}

/// How many rows of a weight are made whole again at once: all, or equal panels where that would take much
/// memory. More and smaller panels, which stay in a CPU's cache, make its GEMM slower than they save.
inline std::int64_t panel_rows(Device device, std::int64_t rows, std::int64_t row_bytes) {
  const std::int64_t panel_bytes = std::int64_t{device.type == DeviceType::cpu ? 5 : 64} << 20;
  constexpr std::int64_t step = 128;
  const std::int64_t panels = std::max<std::int64_t>(1, (rows * row_bytes + panel_bytes - 1) / panel_bytes);
  return std::min(rows, (rows + panels * step - 1) / (panels * step) * step);
}

inline void run_dequantized(ExecContext& exec, const QuantizedLinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const LinearShape shape = linear_shape(args);
  const QuantizedRows weight(args.weight, args.weight_scale, args.weight_shift, shape.in_features);
  const DType dtype = args.x.dtype();
  const std::int64_t out_features = shape.out_features;
  const std::int64_t rows =
      panel_rows(exec.device(), out_features, shape.in_features * static_cast<std::int64_t>(size_of(dtype)));
  const Tensor panel = exec.workspace().take_tensor(dtype, {rows, shape.in_features});
  for (std::int64_t begin = 0; begin < out_features; begin += rows) {
    const std::int64_t end = std::min(out_features, begin + rows);
    dispatch_compute_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      with_exec_space(exec, [&](const auto& space) {
        constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
        const Dequantize<T, W> kernel{weight, panel.data<T>(), begin};
        for_each_element(space, "ophis::quantized_linear::dequantize",
                         (end - begin) * (shape.in_features / kernel.size()), kernel);
      });
    });
    LinearArgs product = linear_of(args, panel.slice(0, 0, end - begin));
    if (args.bias) product.bias = args.bias.slice(0, begin, end);
    product.out = args.out.slice(-1, begin, end);
    linear(exec, product);
  }
}

}  // namespace ophis::quantized_linear_kokkos
