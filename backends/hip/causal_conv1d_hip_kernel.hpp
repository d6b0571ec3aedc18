// causal_conv1d on AMD GPUs: what one block of threads does, for the GPU and for the model on the CPU.
#pragma once

#include "backends/gpu/causal_conv1d_kernel.hpp"
#include "backends/gpu/causal_conv1d_plan.hpp"
#include "ophis/core/simd.hpp"
#include "ophis/core/thread_block.hpp"

namespace ophis::causal_conv1d_hip {

using causal_conv1d_gpu::Forward;
using causal_conv1d_gpu::Vector;
using gpu::vector_bytes;
using gpu::vector_width;

/// How the shared kernels do what CUDA does by instructions of its own.
struct Access {
  template <class T>
  static OPHIS_INLINE_FUNCTION float to_float(T x) {
    return static_cast<float>(x);
  }
  template <class T>
  static OPHIS_INLINE_FUNCTION T from_float(float x) {
    return T(x);
  }
  template <class T, int V>
  static OPHIS_INLINE_FUNCTION void unpack(const gpu::Packed<T, V>& from, float (&to)[V]) {
    T elements[V];
    detail::copy_bytes(elements, from.words, sizeof elements);
    OPHIS_UNROLL
    for (int i = 0; i < V; ++i) to[i] = static_cast<float>(elements[i]);
  }
  template <class T, int V>
  static OPHIS_INLINE_FUNCTION gpu::Packed<T, V> pack(const float (&from)[V]) {
    T elements[V];
    OPHIS_UNROLL
    for (int i = 0; i < V; ++i) elements[i] = T(from[i]);
    gpu::Packed<T, V> to;
    detail::copy_bytes(to.words, elements, sizeof elements);
    return to;
  }
  template <class T>
  static OPHIS_INLINE_FUNCTION Vector<T> load(const T* from) {
    Vector<T> vector;
    detail::copy_bytes(vector.words, __builtin_assume_aligned(from, vector_bytes), vector_bytes);
    return vector;
  }
  template <class T, int V>
  static OPHIS_INLINE_FUNCTION void store(T* to, const gpu::Packed<T, V>& vector) {
    detail::copy_bytes(__builtin_assume_aligned(to, vector_bytes), vector.words, vector_bytes);
  }
  /// On the GPU by v_exp_f32 and v_rcp_f32, of 1 ulp each.
  static OPHIS_INLINE_FUNCTION float silu(float x) {
    constexpr float log2_e = 1.44269504088896341f;
#if defined(__HIP_DEVICE_COMPILE__)
    return x * __builtin_amdgcn_rcpf(1.0f + __builtin_amdgcn_exp2f(-x * log2_e));
#else
    return x / (1.0f + std::exp2(-x * log2_e));
#endif
  }

  /// Through registers.
  template <class T, int n>
  class Copies {
   public:
    OPHIS_INLINE_FUNCTION void start(int i, T* to, const T* from, bool wanted) {
      if (wanted) m_vectors[i] = load(from);
      m_to[i] = to;
      m_wanted[i] = wanted;
    }
    OPHIS_INLINE_FUNCTION void finish() const {
      OPHIS_UNROLL
      for (int i = 0; i < n; ++i) {
        if (m_wanted[i]) store(m_to[i], m_vectors[i]);
      }
    }

   private:
    Vector<T> m_vectors[n];
    T* m_to[n];
    bool m_wanted[n];
  };
};

/// Channels are dense. Half a wave takes a row of a tile, 512 bytes.
template <class T, int width>
struct ChannelsLast : causal_conv1d_gpu::ChannelsLast<Access, T, width, 32, 8, 4> {
  using Base = causal_conv1d_gpu::ChannelsLast<Access, T, width, 32, 8, 4>;
  using Base::Base;
  using Block = ThreadBlock<4, 64>;
  static_assert(Block::threads == Base::threads);

  OPHIS_INLINE_FUNCTION void operator()(std::int64_t item, typename Base::Shared& shared) const {
    const typename Base::Tile tile = this->tile(static_cast<int>(item));
    const Block block;
    block.each_thread([&](int thread) { this->stage(shared, tile, thread); });
    block.each_thread([&](int thread) { this->compute(shared, tile, thread); });
  }
};

/// Time is dense. Each wave takes `depth` times 64 vectors of a channel, which it stages in shared memory
/// with the vector before them: a lane finds its neighbour's inputs there.
template <class T, int width>
struct ChannelsFirst {
  static constexpr int waves = 4, lanes = 64, depth = 4, V = vector_width<T>;
  static constexpr int run = depth * lanes;  // vectors
  using Block = ThreadBlock<waves, lanes>;
  using Row = causal_conv1d_gpu::ChannelRow<Access, T, width>;

  struct Shared {
    alignas(vector_bytes) T inputs[waves][(1 + run) * V];  // the first is the vector before the run
  };

  Forward<T> f;
  std::int64_t tiles;  // of a row

  ChannelsFirst(const Forward<T>& arguments, std::int64_t largest_shift)
      : f(arguments), tiles((f.seqlen + largest_shift - 1) / (run * V) + 1) {}

  std::int64_t blocks() const { return (f.batch * std::int64_t{f.dim} * tiles - 1) / waves + 1; }

  OPHIS_INLINE_FUNCTION void operator()(std::int64_t block_index, Shared& shared) const {
    const Block block;
    block.each_thread([&](int thread) { stage(block_index, shared, thread); });
    block.each_thread([&](int thread) { compute(block_index, shared, thread); });
  }

 private:
  /// The tile of a thread's wave, and whether there is one.
  OPHIS_INLINE_FUNCTION std::int64_t item_of(std::int64_t block_index, int thread) const {
    return block_index * waves + thread / lanes;
  }
  OPHIS_INLINE_FUNCTION bool exists(std::int64_t item) const {
    return item < f.batch * std::int64_t{f.dim} * tiles;
  }
  OPHIS_INLINE_FUNCTION Row row_of(std::int64_t item) const {
    const std::int64_t channel = item / tiles;
    return {f, static_cast<int>(channel / f.dim), static_cast<int>(channel % f.dim)};
  }
  /// The position of the tile's first vector, which may begin before the row.
  OPHIS_INLINE_FUNCTION int first_of(std::int64_t item, const Row& row) const {
    return static_cast<int>(item % tiles * (run * V)) - row.shift();
  }

  OPHIS_INLINE_FUNCTION void stage(std::int64_t block_index, Shared& shared, int thread) const {
    const std::int64_t item = item_of(block_index, thread);
    if (!exists(item)) return;
    const Row row = row_of(item);
    const int lane = thread % lanes, first = first_of(item, row);
    T* const slots = shared.inputs[thread / lanes];
    Access::Copies<T, depth + 1> inputs;
    const auto start = [&](int u, int slot) {
      const int l = first + (slot - 1) * V;
      const bool exists = l < f.seqlen && (slot > 0 || lane == 0);
      inputs.start(u, slots + slot * V, row.x + l, exists && row.is_inside(l));
      if (exists && !row.is_inside(l)) row.copy(l, slots + slot * V);
    };
    start(depth, 0);
    OPHIS_UNROLL
    for (int u = 0; u < depth; ++u) start(u, 1 + u * lanes + lane);
    inputs.finish();
  }

  OPHIS_INLINE_FUNCTION void compute(std::int64_t block_index, const Shared& shared, int thread) const {
    const std::int64_t item = item_of(block_index, thread);
    if (!exists(item)) return;
    Row row = row_of(item);
    row.load_parameters();
    const int lane = thread % lanes, first = first_of(item, row);
    const T* const slots = shared.inputs[thread / lanes];
    const bool is_cut = row.cuts(first, first + run * V);
    for (int u = 0; u < depth; ++u) {
      const int index = u * lanes + lane, l = first + index * V;
      if (l >= f.seqlen) break;
      if (is_cut && row.cuts(l, l + V)) {
        row.output_one_by_one(l);
        continue;
      }
      float previous[width - 1];
      Row::tail(Access::load(slots + index * V), previous);
      row.template output<false>(l, Access::load(slots + (1 + index) * V), previous);
    }
    if (f.writes_final && item % tiles == tiles - 1 && lane == 0) {
      f.template write_final_state<width>(row.row, {row.row, 0, f.seqlen}, row.channel);
    }
  }
};

inline const char* why_not_arguments(const CausalConv1dArgs& args) {
  if (const char* reason = causal_conv1d_gpu::why_not_arguments(args)) return reason;
  // A block takes at least 32 positions of a channel, but at a row's end.
  if (args.x.extent(0) * args.x.extent(2) * (args.x.extent(1) / 32 + 1) >= std::int64_t{1} << 31)
    return "takes up to 2^36 elements";
  return nullptr;
}

/// Calls f(kernel, blocks) with the kernel for the arguments, unless there is nothing to compute. Returns
/// whether that writes the final states.
template <class F>
bool dispatch_kernel(const CausalConv1dArgs& args, const F& f) {
  bool writes_final = false;
  causal_conv1d_gpu::dispatch(
      args.x.dtype(), args.weight.extent(1),
      [&]<class T, int width>(std::type_identity<T>, std::integral_constant<int, width>) {
        const Forward<T> forward(args);
        writes_final = forward.writes_final;
        const auto call = [&](const auto& kernel) { f(kernel, kernel.blocks()); };
        if (args.x.count() == 0) return;
        if (causal_conv1d_gpu::is_channels_last(args))
          call(ChannelsLast<T, width>(forward));
        else
          call(ChannelsFirst<T, width>(forward, causal_conv1d_gpu::largest_shift<T>(args)));
      });
  return writes_final;
}

}  // namespace ophis::causal_conv1d_hip
