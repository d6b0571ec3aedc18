// The kernel of associative_scan for NVIDIA GPUs, for rows that are dense in memory. Not an interface:
// include associative_scan.hpp.
//
// One pass: a block of threads holds a tile of a row in shared memory, publishes its total, waits for what
// lies before the tile and writes. How values are grouped depends on their position in the row only:
//
//   vector   the positions of one 16-byte access, one after the other
//   run      the vectors of a warp's lanes, by doubling distances
//   segment  the runs of a warp, one after the other
//   tile     the segments of a block, one after the other
//   part     4 tiles, span: 32 parts, row: spans; each one after the other
//
// The spans of a row form a chain: each waits for the prefix of the one before. Within a span tiles wait for
// totals only, which depend on nothing (a variant of the decoupled look-back of Merrill and Garland, 2016, in
// which the grouping does not depend on timing).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>

#include "ophis/core/cuda.hpp"
#include "ophis/ops/associative_scan_operands.hpp"

namespace ophis::detail::scan_cuda {

inline constexpr int warp_lanes = 32, block_warps = 16;
inline constexpr int part_tiles = 4, span_tiles = part_tiles * warp_lanes;

/// V neighbouring elements of one tensor, in whole registers.
template <class T, int V>
struct Vector {
  static constexpr int count = V * static_cast<int>(sizeof(T)) / 4;
  static_assert(count % 4 == 0, "accesses are of 16 bytes");
  std::uint32_t words[count];

  /// The i-th element in the type of a scan's values.
  template <class To>
  __device__ To get(int i) const {
    if constexpr (std::is_same_v<T, bfloat16>) {
      return __uint_as_float(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xffff0000u);
    } else if constexpr (std::is_same_v<T, float16>) {
      return __half2float(
          __ushort_as_half(static_cast<std::uint16_t>(i % 2 == 0 ? words[i / 2] : words[i / 2] >> 16)));
    } else {
      T element;
      std::memcpy(&element, words + i * (sizeof(T) / 4), sizeof(T));
      return static_cast<To>(element);
    }
  }
  /// Sets the i-th element; of 16-bit elements the even ones before the odd ones.
  template <class From>
  __device__ void set(int i, From value) {
    if constexpr (sizeof(T) == 2) {
      const std::uint32_t bits = to_bits(value);
      words[i / 2] = i % 2 == 0 ? bits : words[i / 2] | bits << 16;
    } else {
      const T element = static_cast<T>(value);
      std::memcpy(words + i * (sizeof(T) / 4), &element, sizeof(T));
    }
  }

  /// `slots` are those of a thread in shared memory, every `stride`-th 16 bytes.
  __device__ static void fetch_whole(const T* from, bool reverse, uint4* slots, int stride) {
    if (reverse) from -= V - 1;
#pragma unroll
    for (int i = 0; i < count / 4; ++i) {
      __pipeline_memcpy_async(slots + i * stride, reinterpret_cast<const uint4*>(from) + i, sizeof(uint4));
    }
  }
  __device__ static void fetch_some(const T* from, std::int64_t step, int elements, uint4* slots,
                                    int stride) {
    constexpr int per_slot = static_cast<int>(sizeof(uint4) / sizeof(T));
#pragma unroll 1
    for (int i = 0; i < elements; ++i) {
      reinterpret_cast<T*>(slots + i / per_slot * stride)[i % per_slot] = from[i * step];
    }
  }
  __device__ void load(const uint4* slots, int stride, bool reverse) {
#pragma unroll
    for (int i = 0; i < count; i += 4) {
      const uint4 slot = slots[i / 4 * stride];
      words[i] = slot.x;
      words[i + 1] = slot.y;
      words[i + 2] = slot.z;
      words[i + 3] = slot.w;
    }
    if (reverse) *this = reversed();
  }
  __device__ void write_whole(T* to, bool reverse) const {
    if (reverse) to -= V - 1;
    const Vector ordered = reverse ? reversed() : *this;
#pragma unroll
    for (int i = 0; i < count; i += 4) {
      __stcs(reinterpret_cast<uint4*>(to) + i / 4,
             make_uint4(ordered.words[i], ordered.words[i + 1], ordered.words[i + 2], ordered.words[i + 3]));
    }
  }
  __device__ void write_some(T* to, std::int64_t step, int elements) const {
#pragma unroll
    for (int i = 0; i < V; ++i) {
      if (i < elements) to[i * step] = element(i);
    }
  }

  __device__ Vector reversed() const {
    Vector result;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      if constexpr (sizeof(T) == 2) {
        result.words[i] = __funnelshift_l(words[count - 1 - i], words[count - 1 - i], 16);
      } else {
        result.words[i] = words[count - 1 - (sizeof(T) == 8 ? i ^ 1 : i)];
      }
    }
    return result;
  }

 private:
  __device__ T element(int i) const {
    T result;
    if constexpr (sizeof(T) == 2) {
      result.bits = static_cast<std::uint16_t>(i % 2 == 0 ? words[i / 2] : words[i / 2] >> 16);
    } else {
      std::memcpy(&result, words + i * (sizeof(T) / 4), sizeof(T));
    }
    return result;
  }
  template <class From>
  __device__ static std::uint32_t to_bits(From value) {
    if constexpr (std::is_same_v<From, T>) {
      return value.bits;
    } else if constexpr (std::is_same_v<T, bfloat16>) {
      return __bfloat16_as_ushort(__float2bfloat16_rn(value));
    } else {
      return __half_as_ushort(__float2half_rn(value));
    }
  }
};

template <class Operands>
struct ElementSizes;
template <class... Ts, class Indices>
struct ElementSizes<ScanOperands<ScanTypes<Ts...>, Indices>> {
  static constexpr int least = static_cast<int>(std::min({sizeof(Ts)...}));
  static constexpr int total = static_cast<int>((sizeof(Ts) + ...));
};

/// V positions of the tensors on one side of a scan.
template <int V, class Operands>
struct Vectors;
template <int V, class... Ts, std::size_t... I>
struct Vectors<V, ScanOperands<ScanTypes<Ts...>, std::index_sequence<I...>>> {
  using Operands = ScanOperands<ScanTypes<Ts...>, std::index_sequence<I...>>;
  using Pointers = typename Operands::Pointers;

  ScanTuple<Vector<Ts, V>...> vectors;

  template <class Value>
  __device__ Value get_value(int i) const {
    return Value(
        get<I>(vectors).template get<std::decay_t<decltype(ophis::get<I>(std::declval<Value&>()))>>(i)...);
  }
  template <class Value>
  __device__ void set_value(int i, const Value& value) {
    (get<I>(vectors).set(i, get<I>(value)), ...);
  }

  /// Copies `count` positions to a thread's slots; `from` is the first, and the slots are every `stride`-th.
  __device__ static void fetch(const Operands& operands, const Pointers& from, int count, bool whole,
                               uint4* slots, int stride) {
    const auto fetch = [&]<class T>(const T* first, std::int64_t step, uint4* to) {
      if (whole) {
        Vector<T, V>::fetch_whole(first, step < 0, to, stride);
      } else {
        Vector<T, V>::fetch_some(first, step, count, to, stride);
      }
    };
    (fetch(get<I>(from), operands.layouts[I].step, slots + first_slot(I) * stride), ...);
  }
  __device__ void load(const Operands& operands, const uint4* slots, int stride, bool whole) {
    (get<I>(vectors).load(slots + first_slot(I) * stride, stride, whole && operands.layouts[I].step < 0),
     ...);
  }
  __device__ void write(const Operands& operands, const Pointers& to, int count, bool whole) const {
    if (whole) {
      (get<I>(vectors).write_whole(get<I>(to), operands.layouts[I].step < 0), ...);
    } else {
      (get<I>(vectors).write_some(get<I>(to), operands.layouts[I].step, count), ...);
    }
  }
  __device__ static Pointers advance(const Operands& operands, const Pointers& pointers, int positions) {
    return Pointers(get<I>(pointers) + positions * operands.layouts[I].step...);
  }

  /// Whether whole vectors may be read and written, in every row.
  static bool can_be_whole(const Operands& operands, const ScanRows& rows) {
    return (can_be_whole(get<I>(operands.data), operands.layouts[I], rows) && ...);
  }

 private:
  __device__ static constexpr int first_slot(std::size_t tensor) {
    constexpr std::size_t sizes[] = {sizeof(Ts)...};
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < tensor; ++i) bytes += V * sizes[i];
    return static_cast<int>(bytes / sizeof(uint4));
  }
  template <class T>
  static bool can_be_whole(const T* data, const ScanLayout& layout, const ScanRows& rows) {
    const auto is_aligned = [](std::intptr_t bytes) { return bytes % 16 == 0; };
    const T* const first = data + layout.begin - (layout.step < 0 ? V - 1 : 0);
    if (!is_aligned(reinterpret_cast<std::intptr_t>(first))) return false;
    return std::all_of(layout.row_strides, layout.row_strides + rows.axes, [&](std::int64_t stride) {
      return is_aligned(stride * static_cast<std::int64_t>(sizeof(T)));
    });
  }
};

/// A value that another block waits for. Each 32 bits travel in one 64-bit word with a mark that they are
/// there, so that no fence is needed; words are 0 before.
template <class Value>
struct Message {
  static_assert(std::is_trivially_copyable_v<Value> && sizeof(Value) % 4 == 0);
  static constexpr int count = sizeof(Value) / 4;

  unsigned long long words[count];

  __device__ void send(const Value& value) {
    unsigned payload[count];
    std::memcpy(payload, &value, sizeof(value));
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const unsigned long long word = (1ull << 32) | payload[i];
      asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(words + i), "l"(word) : "memory");
    }
  }
  __device__ bool try_receive(Value& value) const {
    unsigned long long received[count];
#pragma unroll
    for (int i = 0; i < count; ++i) {
      asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(received[i]) : "l"(words + i) : "memory");
    }
    bool complete = true;
    unsigned payload[count];
#pragma unroll
    for (int i = 0; i < count; ++i) {
      complete = complete && received[i] >> 32 != 0;
      payload[i] = static_cast<unsigned>(received[i]);
    }
    std::memcpy(&value, payload, sizeof(value));
    return complete;
  }
};

/// Waits for the first `count` messages.
template <class Value, int N>
__device__ inline void receive(const Message<Value>* messages, int count, Value (&values)[N]) {
  bool complete;
  do {
    bool received[N];
#pragma unroll
    for (int i = 0; i < N; ++i) received[i] = i >= count || messages[i].try_receive(values[i]);
    complete = true;
#pragma unroll
    for (int i = 0; i < N; ++i) complete = complete && received[i];
  } while (!complete);
}

/// A value of another lane of the warp, counted modulo the warp's lanes.
template <class Value>
__device__ inline Value shuffle(const Value& value, int lane) {
  unsigned words[sizeof(Value) / 4];
  std::memcpy(words, &value, sizeof(value));
#pragma unroll
  for (unsigned& word : words) word = __shfl_sync(0xffffffffu, word, lane);
  Value result;
  std::memcpy(&result, words, sizeof(result));
  return result;
}

/// A value, or none.
template <class Value>
struct Prefix {
  Value value;
  bool present = false;

  template <class Combine>
  __device__ Value before(const Combine& combine, const Value& later) const {
    const Value both = combine(value, later);
    return present ? both : later;
  }
  template <class Combine>
  __device__ void append(const Combine& combine, const Value& later) {
    value = before(combine, later);
    present = true;
  }
};

template <class Problem>
struct Scan {
  using Value = typename Problem::Value;
  using Inputs = typename Problem::Inputs;
  using Outputs = typename Problem::Outputs;

  /// Positions of a vector; runs of a segment: 192 bytes of inputs a thread, and totals of 64 bytes.
  static constexpr int V = 16 / std::min(ElementSizes<Inputs>::least, ElementSizes<Outputs>::least);
  static constexpr int U =
      std::max(1, std::min(192 / (V * ElementSizes<Inputs>::total), 64 / static_cast<int>(sizeof(Value))));
  static constexpr int run = warp_lanes * V, segment = U * run, tile = block_warps * segment;
  /// 16-byte slots of a thread for one vector of each input.
  static constexpr int slots = V * ElementSizes<Inputs>::total / 16;
  static constexpr int threads = block_warps * warp_lanes;
  static constexpr int shared_bytes = U * slots * threads * 16;

  Problem problem;
  bool dense;                          // whether vectors inside a row are dense and aligned
  int row_warps;                       // warps that share a row
  std::int64_t tiles, spans;           // of a row
  Message<Value>* totals = nullptr;    // (rows, tiles), of a tile
  Message<Value>* prefixes = nullptr;  // (rows, spans), of the row up to the end of a span

  /// What lies before a tile that is not the first, computed by one warp.
  __device__ Value look_back(std::int64_t row, std::int64_t tile, const Value& total) const {
    const auto& combine = problem.combine;
    const int lane = static_cast<int>(threadIdx.x) % warp_lanes;
    const std::int64_t span = tile / span_tiles;
    const int before = static_cast<int>(tile % span_tiles);  // tiles of the span
    Value received[part_tiles];
    // Asked for first, so that it comes while the totals are waited for.
    Value prefix[1];
    const bool has_prefix = span == 0 || prefixes[row * spans + span - 1].try_receive(prefix[0]);
    receive(totals + row * tiles + span * span_tiles + lane * part_tiles, before - lane * part_tiles,
            received);
    Prefix<Value> part;
#pragma unroll
    for (int i = 0; i < part_tiles; ++i) {
      if (lane * part_tiles + i < before) part.append(combine, received[i]);
    }
    Prefix<Value> parts;  // those before this tile's
#pragma unroll
    for (int i = 0; i < warp_lanes - 1; ++i) {
      const Value other = shuffle(part.value, i);
      if ((i + 1) * part_tiles <= before) parts.append(combine, other);
    }
    Prefix<Value> own_part{shuffle(part.value, before / part_tiles), before % part_tiles != 0};
    Prefix<Value> result;
    if (span > 0) {
      if (!has_prefix) receive(prefixes + row * spans + span - 1, 1, prefix);
      result = {prefix[0], true};
    }
    if (before == span_tiles - 1 && span + 1 < spans && lane == 0) {
      const Value of_span = parts.before(combine, own_part.before(combine, total));
      prefixes[row * spans + span].send(result.before(combine, of_span));
    }
    if (own_part.present) parts.append(combine, own_part.value);
    if (parts.present) result.append(combine, parts.value);
    return result.value;
  }
};

template <class Problem>
__global__ void __launch_bounds__(block_warps* warp_lanes, 2)
    scan(const __grid_constant__ Scan<Problem> scan) {
  using S = Scan<Problem>;
  using Value = typename S::Value;
  constexpr int V = S::V, U = S::U;
  extern __shared__ uint4 tile_slots[];
  __shared__ Value segment_totals[block_warps], before_tile;
  const auto& [combine, rows, inputs, outputs] = scan.problem;
  const int lane = static_cast<int>(threadIdx.x) % warp_lanes,
            warp = static_cast<int>(threadIdx.x) / warp_lanes;
  const int rank = warp % scan.row_warps;  // of the warp among those of its row
  const int block_rows = block_warps / scan.row_warps;
  const auto row_blocks = static_cast<unsigned>((rows.count + block_rows - 1) / block_rows);
  // Tiles wait for earlier ones of their row only, and blocks start in order.
  const std::int64_t row = blockIdx.x % row_blocks * block_rows + warp / scan.row_warps;
  const std::int64_t tile = blockIdx.x / row_blocks;
  const std::int64_t segment_begin = tile * S::tile + rank * S::segment;
  const std::int64_t begin = segment_begin + lane * V;
  // Positions from the warp's and the lane's first on; the same in all lanes of a warp, where it matters.
  const std::int64_t warp_left = row < rows.count ? rows.length - segment_begin : 0;
  const std::int64_t left = warp_left - lane * V;
  const auto is_whole = [&](int u) { return scan.dense && left - u * S::run >= V; };
  const auto count = [&](int position) {
    return static_cast<int>(::max(std::int64_t{0}, ::min(std::int64_t{V}, left - position)));
  };

  using In = Vectors<V, typename S::Inputs>;
  uint4* const slots = tile_slots + threadIdx.x;
  constexpr int run_slots = S::slots * S::threads;
  if (left > 0) {
    const auto from = inputs.at(rows, row, begin);
#pragma unroll
    for (int u = 0; u < U; ++u) {
      In::fetch(inputs, In::advance(inputs, from, u * S::run), count(u * S::run), is_whole(u),
                slots + u * run_slots, S::threads);
    }
  }
  __pipeline_commit();
  __pipeline_wait_prior(0);

  // What lies beyond the row's end may be combined too, but only with what lies further beyond.
  Value before_vector[U], run_totals[U];
#pragma unroll
  for (int u = 0; u < U; ++u) {
    if (u * S::run >= warp_left) {
      before_vector[u] = run_totals[u] = {};
      continue;
    }
    In in;
    in.load(inputs, slots + u * run_slots, S::threads, is_whole(u));
    Value total = in.template get_value<Value>(0);
#pragma unroll
    for (int i = 1; i < V; ++i) total = combine(total, in.template get_value<Value>(i));
#pragma unroll
    for (int distance = 1; distance < warp_lanes; distance *= 2) {
      const Value both = combine(shuffle(total, lane - distance), total);
      if (lane >= distance) total = both;
    }
    before_vector[u] = shuffle(total, lane - 1);
    run_totals[u] = shuffle(total, warp_lanes - 1);
  }
  Value segment_total = run_totals[0];
#pragma unroll
  for (int u = 1; u < U; ++u) segment_total = combine(segment_total, run_totals[u]);
  if (lane == 0) segment_totals[warp] = segment_total;
  __syncthreads();

  Prefix<Value> before;
  if (scan.tiles > 1) {
    if (warp == 0) {
      Value total = segment_totals[0];
#pragma unroll
      for (int i = 1; i < block_warps; ++i) total = combine(total, segment_totals[i]);
      if (lane == 0) scan.totals[row * scan.tiles + tile].send(total);
      if (tile > 0) {
        const Value value = scan.look_back(row, tile, total);
        if (lane == 0) before_tile = value;
      }
    }
    __syncthreads();
    if (tile > 0) before = {before_tile, true};
  }
  Prefix<Value> segments;
#pragma unroll
  for (int i = 0; i < block_warps - 1; ++i) {
    if (i < rank) segments.append(combine, segment_totals[warp - rank + i]);
  }
  if (segments.present) before.append(combine, segments.value);

  if (left <= 0) return;
  const auto to = outputs.at(rows, row, begin);
#pragma unroll
  for (int u = 0; u < U; ++u) {
    Prefix<Value> running = before;
    if (lane > 0) running.append(combine, before_vector[u]);
    before.append(combine, run_totals[u]);
    In in;
    in.load(inputs, slots + u * run_slots, S::threads, is_whole(u));
    Vectors<V, typename S::Outputs> out;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      running.append(combine, in.template get_value<Value>(i));
      out.set_value(i, running.value);
    }
    out.write(outputs, out.advance(outputs, to, u * S::run), count(u * S::run), is_whole(u));
  }
}

/// Whether this kernel is the one to take a scan: its rows are dense, forward or backward, and tiles fit. A
/// warp takes no less than a row; for short ones a thread a row is better.
template <class Problem>
bool takes(const ExecContext& exec, const Problem& problem) {
  constexpr int static_bytes = (block_warps + 1) * static_cast<int>(sizeof(typename Problem::Value));
  const auto is_dense = [](const ScanLayout& layout) { return layout.step == 1 || layout.step == -1; };
  return problem.rows.length >= 2 * Scan<Problem>::run &&
         Scan<Problem>::shared_bytes + static_bytes <=
             cuda::properties(exec.device()).shared_memory_per_block &&
         std::all_of(std::begin(problem.inputs.layouts), std::end(problem.inputs.layouts), is_dense) &&
         std::all_of(std::begin(problem.outputs.layouts), std::end(problem.outputs.layouts), is_dense);
}

template <class Problem>
void run(ExecContext& exec, const Problem& problem) {
  using S = Scan<Problem>;
  const cudaStream_t stream = cuda::stream(exec);
  const ScanRows& rows = problem.rows;
  const auto divide_up = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  S scan{problem,
         Vectors<S::V, typename S::Inputs>::can_be_whole(problem.inputs, rows) &&
             Vectors<S::V, typename S::Outputs>::can_be_whole(problem.outputs, rows),
         1, divide_up(rows.length, S::tile), divide_up(rows.length, std::int64_t{S::tile} * span_tiles)};
  while (scan.row_warps < block_warps && scan.row_warps * S::segment < rows.length) scan.row_warps *= 2;

  const Workspace::Scope scope(exec.workspace());
  if (scan.tiles > 1) {
    const std::int64_t count = rows.count * (scan.tiles + scan.spans);
    scan.totals = exec.workspace().take<Message<typename S::Value>>(count);
    scan.prefixes = scan.totals + rows.count * scan.tiles;
    cuda::check(
        cudaMemsetAsync(scan.totals, 0, static_cast<std::size_t>(count) * sizeof(*scan.totals), stream),
        "associative_scan");
  }
  const std::int64_t blocks = divide_up(rows.count, block_warps / scan.row_warps) * scan.tiles;
  OPHIS_REQUIRE(blocks < std::int64_t{1} << 31, "associative_scan: there are too many rows");
  cuda::check(cudaFuncSetAttribute(scan_cuda::scan<Problem>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   S::shared_bytes),
              "associative_scan");
  scan_cuda::scan<<<static_cast<unsigned>(blocks), S::threads, S::shared_bytes, stream>>>(scan);
  cuda::check_launch("associative_scan");
}

}  // namespace ophis::detail::scan_cuda
