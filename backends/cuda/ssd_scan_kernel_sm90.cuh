// The scan of ssd_scan on Hopper's tensor cores, chunk after chunk, with the state in registers.
//
// With the state H (panel, dstate) at a chunk's start, a_t the sum of dt A from there up to position t (in
// log2), X the chunk's rows of x and M[t, s] = (C_t . B_s) exp2(a_t - a_s) dt_s for s <= t, else 0:
//
//     Y' = (H C') diag(exp2(a)) + X' M'
//     H <- exp2(a_end) H + (diag(exp2(a_end - a) dt) X)' B
//
// Y is computed transposed so that H, from the accumulators of the last product, is the first operand of the
// next without leaving its registers. Four warps (a warpgroup) have a panel; the panels of a block are of one
// group and share C, B and C . B'. Four more warps compute C . B' and from it M for each panel; of the last
// four, one fetches and three compute the decays. All of these are a chunk or two ahead.
#pragma once

#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/ssd_scan_panels.cuh"

namespace ophis::ssd_scan_cuda::masked_apart {

// Scans of the states alone have neither C nor results.
template <int N, bool with_outputs>
struct StageOfC {
  Tile C[N / 64];
};
template <int N>
struct StageOfC<N, false> {};

template <int N, int heads, bool with_outputs>
struct Stage : StageOfC<N, with_outputs> {
  Tile B[N / 64], x[heads];
  Weights weights[heads];
};

template <int N, int heads, int stages, bool with_outputs>
struct Ring {
  Stage<N, heads, with_outputs> stage[stages];
};

template <int heads, bool with_outputs>
struct Results {
  Tile M[heads][2], out[heads][2];  // of two chunks in turn
};
template <int heads>
struct Results<heads, false> {};

template <int N, int heads, int stages, bool with_outputs>
struct Shared : Ring<N, heads, stages, with_outputs>, Results<heads, with_outputs> {
  // At all of these every thread of a warp arrives: what it has read and written itself comes before.
  std::uint64_t loaded[stages], ready[stages], empty[stages];
  std::uint64_t masked[heads][2], used[heads][2];  // M is written, and has been read
};

/// What the groups of four warps do.
enum class Role { compute, mask, prepare };

template <class T, int N, int heads, class Arch, bool with_outputs>
struct Scan : PanelScan<N, heads, with_outputs> {
  using Base = PanelScan<N, heads, with_outputs>;
  using Base::plan;
  static constexpr int stages = with_outputs ? Arch::stages : Arch::state_stages;
  using Memory = Shared<N, heads, stages, with_outputs>;
  static constexpr int warps = heads * 4 + (with_outputs ? 8 : 4);
  /// They divide a ring of stages evenly, so that a stage's weights always come from the same warp: the
  /// parity it waits for tells its own last use of the stage only from the one before.
  static constexpr int weighing_warps = 3;
  static_assert(stages % weighing_warps == 0);

  const TensorMaps* maps;
  Memory& memory;
  Share share;

  /// Where a warp is in the block's share, and which stage of the ring belongs to it.
  struct Cursor {
    const Scan& scan;
    int step = 0;
    int at, index;  // among all chunks, and within the segment
    Unit unit;
    bool first = true;  // of the unit's chunks in this block
    int stage = 0;
    std::uint32_t parity = 0;

    __device__ explicit Cursor(const Scan& scan) : scan(scan) { find(); }
    __device__ explicit operator bool() const { return step < scan.share.size(); }
    __device__ void advance() {
      if (++stage == stages) stage = 0, parity ^= 1;
      if (++step == scan.share.size()) return;
      first = index + 1 == scan.plan.segment_chunks || !scan.share.continues(step);
      if (first) return find();
      ++at, ++index;
    }
    /// The first position of the chunk.
    __device__ std::int64_t position() const {
      return (static_cast<std::int64_t>(unit.segment) * scan.plan.segment_chunks + index) * chunk;
    }
    __device__ int panel_of(int group) const { return min(unit.first + group, unit.last); }
    __device__ Stage<N, heads, with_outputs>& memory() const { return scan.memory.stage[stage]; }
    __device__ std::uint32_t loaded() const { return shared_address(&scan.memory.loaded[stage]); }
    __device__ std::uint32_t ready() const { return shared_address(&scan.memory.ready[stage]); }
    __device__ std::uint32_t empty() const { return shared_address(&scan.memory.empty[stage]); }
    __device__ void wait_empty() const { Arch::wait(empty(), parity ^ 1); }
    __device__ void wait_loaded() const { Arch::wait(loaded(), parity); }
    __device__ void wait_ready() const { Arch::wait(ready(), parity); }
    __device__ void release() const { barrier_arrive(empty()); }

   private:
    __device__ void find() {
      at = scan.share[step];
      index = at % scan.plan.segment_chunks;
      unit = scan.unit(at / scan.plan.segment_chunks);
    }
  };

  __device__ void run() {
    const int warp =
        __shfl_sync(~0u, threadIdx.x / 32, 0);  // for the compiler to see that a warp is of one mind
    if (warp < heads * 4) {
      Arch::template share_registers<heads, with_outputs, Role::compute>();
      consume(warp / 4);
    } else if (with_outputs && warp < heads * 4 + 4) {
      Arch::template share_registers<heads, with_outputs, Role::mask>();
      if constexpr (with_outputs) mask(&plan, shared_address(&memory), share);
    } else {
      Arch::template share_registers<heads, with_outputs, Role::prepare>();
      if (warp == warps - 4) {
        fetch();
      } else {
        weigh(warp - (warps - 3));
      }
    }
  }

  /// One warp: copies what each chunk needs.
  __device__ void fetch() const {
    for (Cursor cursor(*this); cursor; cursor.advance()) {
      cursor.wait_empty();
      Arch::template fetch<T, N, heads, with_outputs>(plan, maps, cursor.memory(), cursor.loaded(),
                                                      cursor.unit, cursor.position());
    }
  }

  /// What a panel's weights are computed from: `raw` are dt at the lane's two positions of a chunk.
  struct Steps {
    const T* dt;  // at position 0
    float bias, A;
    T raw[2];

    __device__ void begin_unit(const Plan& plan, int batch, int head) {
      dt = static_cast<const T*>(plan.dt) + batch * plan.dt_rows.batch + head * plan.dt_rows.head;
      bias = plan.dt_bias.data ? value(plan.dt_bias, head, 0) : 0.0f;
      A = log2_e * value(plan.A, head, 0);
    }
    __device__ void load(const Plan& plan, std::int64_t position) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const std::int64_t l = position + lane_position(i);
        if (l < plan.seqlen) raw[i] = dt[l * plan.dt_rows.position];
      }
    }
  };
  __device__ static int lane_position(int i) { return 2 * (threadIdx.x % 32) + i; }

  /// One warp of weighing_warps: computes the weights of every so manyth chunk, for all panels at once, while
  /// dt of its next chunk is on the way.
  __device__ void weigh(int turn) const {
    Cursor cursor(*this);
    bool is_new = true;  // the unit
    const auto advance = [&](int chunks) {
      for (; chunks > 0 && cursor; --chunks) {
        cursor.advance();
        is_new = is_new || cursor.first;
      }
    };
    Steps steps[heads], next[heads];
    const auto load_next = [&] {
      if (!cursor) return;
#pragma unroll
      for (int group = 0; group < heads; ++group) {
        if (is_new)
          next[group].begin_unit(plan, cursor.unit.batch, cursor.panel_of(group) / plan.panels_per_head);
        next[group].load(plan, cursor.position());
      }
      is_new = false;
    };
    advance(turn);
    load_next();
    while (cursor) {
#pragma unroll
      for (int group = 0; group < heads; ++group) steps[group] = next[group];
      const std::int64_t position = cursor.position();
      Stage<N, heads, with_outputs>& stage = cursor.memory();
      const std::uint32_t empty = cursor.empty(), ready = cursor.ready(), parity = cursor.parity ^ 1;
      advance(weighing_warps);
      load_next();
      LaneWeights weights[heads];
#pragma unroll
      for (int group = 0; group < heads; ++group) weights[group] = weigh(steps[group], position);
      Arch::wait(empty, parity);
#pragma unroll
      for (int group = 0; group < heads; ++group) store(weights[group], stage.weights[group]);
      barrier_arrive(ready);
    }
  }

  __device__ LaneWeights weigh(const Steps& steps, std::int64_t position) const {
    float dt[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const bool exists = position + lane_position(i) < plan.seqlen;
      dt[i] = Base::time_step(exists ? to_float(steps.raw[i]) : 0.0f, steps.bias, exists);
    }
    return lane_weights(dt, steps.A);
  }

  /// States alone take less of it.
  __device__ static void store(const LaneWeights& from, Weights& to) {
    const int lane = threadIdx.x % 32;
    reinterpret_cast<float2*>(to.to_end)[lane] = from.to_end;
    if constexpr (with_outputs) reinterpret_cast<float2*>(to.b)[lane] = from.b;
    if (with_outputs || lane == 31) {
      reinterpret_cast<float2*>(to.a)[lane] = from.a;
      reinterpret_cast<float2*>(to.decay)[lane] = from.decay;
    }
  }

  /// Four warps: M of every chunk for each panel. Not inlined, as the compiler keeps the registers that wgmma
  /// uses out of the rest of a function, which would leave too few here.
  __device__ __noinline__ static void mask(const Plan* plan, std::uint32_t memory, Share share) {
    Scan{{*plan}, nullptr, *static_cast<Memory*>(__cvta_shared_to_generic(memory)), share}.mask();
  }

  /// As above. The blocks of 16 x 16 above the diagonal that are read as well, (0, 1) and (2, 3), stay zero.
  __device__ void mask() const {
    for (int i = threadIdx.x % 128; i < heads * 2 * 64; i += 128) {
      const int row = i % 64, block = row / 16;
      if (block % 2 != 0) continue;
      unsigned char* const M = memory.M[i / 128][i / 64 % 2].bytes;
      for (int part = 0; part < 2; ++part)
        *reinterpret_cast<uint4*>(M + tile_offset(row, 2 * (block + 1) + part)) = uint4{};
    }
    const Tiles tiles(threadIdx.x / 32 % 4);
    for (Cursor cursor(*this); cursor; cursor.advance()) {
      float products[5][4] = {};
      cursor.wait_loaded();
      multiply_C_B(tiles, cursor.memory(), products);
      cursor.wait_ready();
      // All heads at once, as this is bound by latency.
      const int slot = cursor.step % 2;
      std::uint32_t m[heads][5][2];
#pragma unroll
      for (int group = 0; group < heads; ++group)
        mask(tiles, products, cursor.memory().weights[group], m[group]);
#pragma unroll
      for (int group = 0; group < heads; ++group) {
        Arch::wait(shared_address(&memory.used[group][slot]), cursor.step / 2 % 2 ^ 1);
        store(tiles, m[group], memory.M[group][slot]);
        Arch::publish();
        barrier_arrive(shared_address(&memory.masked[group][slot]));
      }
      cursor.release();
    }
  }

  /// What a warp computes of M: three tiles of 16 x 8 side by side and two elsewhere, so that each of the
  /// four has as much of the ten blocks of 16 x 16 on and below the diagonal.
  struct Tiles {
    int row[2], column[2];  // where the three and the two begin
    __device__ explicit Tiles(int warp)
        : row{warp < 2 ? 48 : 32, warp < 2    ? 16
                                  : warp == 2 ? 48
                                              : 0},
          column{warp % 2 * 24, warp == 1   ? 16
                                : warp == 2 ? 48
                                            : 0} {}
  };

  /// A warp's tiles of C . B'. By mma.sync, as the compiler takes no wgmma in a function that is called.
  static __device__ void multiply_C_B(const Tiles& tiles, const Stage<N, heads, with_outputs>& stage,
                                      float (&d)[5][4]) {
    const int l = threadIdx.x % 32;
    std::uint32_t b2[4];  // the third tile, of two steps
#pragma unroll 4
    for (int k = 0; k < N / 16; ++k) {
      const std::uint32_t C = shared_address(&stage.C[k / 4]), B = shared_address(&stage.B[k / 4]);
      const int chunk_of_row = k % 4 * 2;
      std::uint32_t a[2][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        load_matrices(a[i], C + tile_offset(tiles.row[i] + l % 16, chunk_of_row + l / 16));
        load_matrices(b[i], B + tile_offset(tiles.column[i] + l / 16 * 8 + l % 8, chunk_of_row + l / 8 % 2));
      }
      if (k % 2 == 0) load_matrices(b2, B + tile_offset(tiles.column[0] + 16 + l % 8, chunk_of_row + l / 8));
      mma_16816<T>(d[0], a[0], b[0][0], b[0][1]);
      mma_16816<T>(d[1], a[0], b[0][2], b[0][3]);
      mma_16816<T>(d[2], a[0], b2[k % 2 * 2], b2[k % 2 * 2 + 1]);
      mma_16816<T>(d[3], a[1], b[1][0], b[1][1]);
      mma_16816<T>(d[4], a[1], b[1][2], b[1][3]);
    }
  }

  static __device__ void mask(const Tiles& tiles, const float (&products)[5][4], const Weights& weights,
                              std::uint32_t (&m)[5][2]) {
    const int g = threadIdx.x % 32 / 4, c = threadIdx.x % 4;
    float2 b[5];
    float a[2][2];
#pragma unroll
    for (int t = 0; t < 5; ++t)
      b[t] = *reinterpret_cast<const float2*>(&weights.b[tiles.column[t / 3] + t % 3 * 8 + 2 * c]);
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i / 2][i % 2] = weights.a[tiles.row[i / 2] + g + i % 2 * 8];
#pragma unroll
    for (int t = 0; t < 5; ++t) {
      const int column = tiles.column[t / 3] + t % 3 * 8 + 2 * c;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int row = tiles.row[t / 3] + g + i * 8;
        const float m0 = products[t][2 * i] * exp2_fast(a[t / 3][i] - b[t].x);
        const float m1 = products[t][2 * i + 1] * exp2_fast(a[t / 3][i] - b[t].y);
        m[t][i] = pack<T>(column <= row ? m0 : 0.0f, column < row ? m1 : 0.0f);
      }
    }
  }

  static __device__ void store(const Tiles& tiles, const std::uint32_t (&m)[5][2], Tile& M) {
    const int g = threadIdx.x % 32 / 4, c = threadIdx.x % 4;
#pragma unroll
    for (int t = 0; t < 5; ++t) {
      const std::uint32_t to = tile_offset(tiles.row[t / 3] + g, tiles.column[t / 3] / 8 + t % 3) + 4 * c;
#pragma unroll
      for (int i = 0; i < 2; ++i) *reinterpret_cast<std::uint32_t*>(M.bytes + to + i * 1024) = m[t][i];
    }
  }

  /// Four warps: the scan of one panel after the other.
  __device__ void consume(int group) {
    const Lane lane(group);
    float h[N / 2];
    float log_decay = 0.0f;
    Panel panel;
    for (Cursor cursor(*this); cursor; cursor.advance()) {
      if (cursor.first) {
        panel.unit = cursor.unit;
        panel.index = cursor.panel_of(group);
        panel.head = panel.index / plan.panels_per_head;
        panel.element = panel.index % plan.panels_per_head * ssd_scan_cuda::panel;
        panel.active = cursor.unit.first + group <= cursor.unit.last;
        for (int i = 0; i < 2; ++i)
          panel.D[i] = plan.D.data ? value(plan.D, panel.head, panel.element + lane.row(i)) : 0.0f;
        if (cursor.index == 0) {
          Base::start(lane, panel, h);
          log_decay = 0.0f;
        } else {
          Base::take_over(lane, h, log_decay);
        }
      }
      if constexpr (with_outputs) {
        compute(lane, cursor, panel, h);
      } else {
        advance(lane, cursor, h, log_decay);
      }
      if (cursor.index == plan.segment_chunks - 1) {
        if (panel.active) Base::finish(lane, panel, h, log_decay);
      } else if (cursor.at == share.end - 1) {
        Base::hand_over(lane, h, log_decay);
      }
    }
    if (with_outputs) Arch::wait_written(lane.thread);
  }

  /// One chunk's outputs and state.
  __device__ void compute(const Lane& lane, const Cursor& cursor, const Panel& panel, float (&h)[N / 2]) {
    Stage<N, heads, with_outputs>& stage = cursor.memory();
    const Weights& weights = stage.weights[lane.group];
    const int slot = cursor.step % 2;
    const Tile& M = memory.M[lane.group][slot];
    Tile& out = memory.out[lane.group][slot];
    float y[32];
    std::uint32_t x[4][4], weighted[4][4];
    cursor.wait_ready();
    {
      std::uint32_t state[N / 16][4];
#pragma unroll
      for (int k = 0; k < N / 16; ++k) {
#pragma unroll
        for (int i = 0; i < 4; ++i) state[k][i] = pack<T>(h[8 * k + 2 * i], h[8 * k + 2 * i + 1]);
      }
      scale(h, weights.decay[chunk - 1]);
      cursor.wait_loaded();
      Arch::fence();
      Arch::template multiply<T, 64, 0>(y, state[0], shared_address(&stage.C[0]), 0, 0);
#pragma unroll
      for (int k = 1; k < N / 16; ++k)
        Arch::template multiply<T, 64, 1>(y, state[k], shared_address(&stage.C[k / 4]), 0, k % 4);
      Arch::commit();
      if (plan.z) load_gates(lane, panel, cursor.position(), out);
      weigh_fragments(lane, weights, stage.x[lane.group], weighted);
      Arch::wait(shared_address(&memory.masked[lane.group][slot]), cursor.step / 2 % 2);
      Arch::template wait_groups<0>();
      Arch::settle(y);
    }
    load_fragments(lane, stage.x[lane.group], x);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const float2 e = *reinterpret_cast<const float2*>(&weights.decay[8 * j + 2 * lane.c]);
      y[4 * j] *= e.x, y[4 * j + 1] *= e.y, y[4 * j + 2] *= e.x, y[4 * j + 3] *= e.y;
    }
    Arch::fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (k < 2) Arch::template multiply<T, 32, 1>(y, x[k], shared_address(&M), 0, k);
      Arch::template multiply<T, 32, 1>(y + 16, x[k], shared_address(&M), 32, k);
    }
    Arch::commit();
    add_to_state(stage, weighted, h);
    Arch::template wait_groups<1>();
    Arch::settle(y);
    barrier_arrive(shared_address(&memory.used[lane.group][slot]));
    if (plan.D.data) add_skip<T>(panel, x, y);
    if (plan.z) gate(lane, out, y);
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      Arch::store_transposed(shared_address(&out), j, 2 * lane.w, pack<T>(y[4 * j], y[4 * j + 1]),
                             pack<T>(y[4 * j + 2], y[4 * j + 3]), pack<T>(y[4 * j + 4], y[4 * j + 5]),
                             pack<T>(y[4 * j + 6], y[4 * j + 7]));
    }
    Arch::publish();
    Arch::wait_written(lane.thread);  // so that beyond the barrier the tile of the next chunk is free
    lane.barrier();
    if (panel.active)
      Arch::template write<T>(plan, maps, out, lane.thread, panel.unit.batch, cursor.position(), panel.head,
                              panel.element);
    Arch::template wait_groups<0>();
    Arch::settle(h);
    cursor.release();
  }

  /// One chunk's state alone.
  __device__ static void advance(const Lane& lane, const Cursor& cursor, float (&h)[N / 2],
                                 float& log_decay) {
    Stage<N, heads, with_outputs>& stage = cursor.memory();
    const Weights& weights = stage.weights[lane.group];
    std::uint32_t weighted[4][4];
    cursor.wait_loaded();
    cursor.wait_ready();
    weigh_fragments(lane, weights, stage.x[lane.group], weighted);
    scale(h, weights.decay[chunk - 1]);
    log_decay += weights.a[chunk - 1];
    Arch::fence();
    add_to_state(stage, weighted, h);
    Arch::template wait_groups<0>();
    Arch::settle(h);
    cursor.release();
  }

  __device__ static void add_to_state(Stage<N, heads, with_outputs>& stage,
                                      const std::uint32_t (&weighted)[4][4], float (&h)[N / 2]) {
#pragma unroll
    for (int tile = 0; tile < N / 64; ++tile) {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        Arch::template multiply_transposed<T>(h + 32 * tile, weighted[k], shared_address(&stage.B[tile]), k);
    }
    Arch::commit();
  }

  /// The panel's rows of X' as first operand: of each 16 positions k.
  __device__ static void load_fragments(const Lane& lane, const Tile& tile, std::uint32_t (&to)[4][4]) {
    const int l = threadIdx.x % 32;
    const std::uint32_t address = shared_address(&tile);
#pragma unroll
    for (int k = 0; k < 4; ++k)
      load_matrices_transposed(to[k],
                               address + tile_offset(16 * k + l / 16 * 8 + l % 8, 2 * lane.w + l / 8 % 2));
  }

  /// The same, each position times its weight in the state at the chunk's end.
  __device__ static void weigh_fragments(const Lane& lane, const Weights& weights, const Tile& tile,
                                         std::uint32_t (&to)[4][4]) {
    load_fragments(lane, tile, to);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 w = *reinterpret_cast<const float2*>(&weights.to_end[16 * k + 8 * (i / 2) + 2 * lane.c]);
        const float2 v = unpack<T>(to[k][i]);
        to[k][i] = pack<T>(v.x * w.x, v.y * w.y);
      }
    }
  }

  /// Begins to copy a chunk of z to a tile; a warp has the columns of its rows of the panel.
  __device__ void load_gates(const Lane& lane, const Panel& panel, std::int64_t l, Tile& tile) const {
    const int row = threadIdx.x % 32 / 2, chunk_of_row = 2 * lane.w + threadIdx.x % 2;
    const T* const z = static_cast<const T*>(plan.z) + panel.unit.batch * plan.z_rows.batch +
                       panel.head * plan.z_rows.head + panel.element + chunk_of_row * 8;
#pragma unroll
    for (int t = row; t < chunk; t += 16) {
      const bool valid = l + t < plan.seqlen;
      copy_async(shared_address(&tile) + tile_offset(t, chunk_of_row),
                 valid ? z + (l + t) * plan.z_rows.position : plan.z, valid);
    }
  }
  /// Multiplies by silu(z).
  __device__ static void gate(const Lane& lane, const Tile& tile, float (&y)[32]) {
    wait_copies();
    __syncwarp();
    std::uint32_t gates[4][4];
    load_fragments(lane, tile, gates);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float2 v = unpack<T>(gates[j / 2][j % 2 * 2 + i]);
        y[4 * j + 2 * i] *= silu_fast(v.x);
        y[4 * j + 2 * i + 1] *= silu_fast(v.y);
      }
    }
    __syncwarp();
  }
};

template <class T, int N, int heads, class Arch, bool with_outputs>
__global__ void __launch_bounds__(Scan<T, N, heads, Arch, with_outputs>::warps * 32, 1)
    scan_kernel(const __grid_constant__ Plan plan, const __grid_constant__ typename Arch::Maps maps,
                bool whole_units) {
  using Kernel = Scan<T, N, heads, Arch, with_outputs>;
  extern __shared__ __align__(1024) unsigned char dynamic[];
  auto& memory = *reinterpret_cast<typename Kernel::Memory*>(dynamic);
  if (threadIdx.x == 0) {
    for (int i = 0; i < Kernel::stages; ++i) {
      barrier_init(shared_address(&memory.loaded[i]), Arch::fetch_arrivals);
      barrier_init(shared_address(&memory.ready[i]), 32);
      barrier_init(shared_address(&memory.empty[i]), with_outputs ? heads * 128 + 128 : heads * 128);
    }
    for (int i = 0; i < 2 * heads; ++i) {
      barrier_init(shared_address(&memory.masked[i / 2][i % 2]), 128);
      barrier_init(shared_address(&memory.used[i / 2][i % 2]), 128);
    }
    Arch::publish();
  }
  __syncthreads();
  wait_for_previous_kernel();
  Kernel{{plan},
         Arch::maps(maps),
         memory,
         Share(Kernel::units(plan), plan.segment_chunks, whole_units, static_cast<int>(blockIdx.x),
               static_cast<int>(gridDim.x))}
      .run();
}

template <class Kernel>
Division divide(const Plan& plan, const Launch& launch) {
  return Division(Kernel::units(plan), plan.ngroups, launch.multiprocessors);
}

template <class T, int N, int heads, class Arch, bool with_outputs>
void launch_scan(const Plan& plan, const typename Arch::Maps& maps, const Launch& launch) {
  using Kernel = Scan<T, N, heads, Arch, with_outputs>;
  const auto kernel = scan_kernel<T, N, heads, Arch, with_outputs>;
  constexpr int bytes = sizeof(typename Kernel::Memory);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "ssd_scan: shared memory of the scan");
  const Division division = divide<Kernel>(plan, launch);
  launch_overlapped("ssd_scan: scan", launch.exec, kernel, dim3(static_cast<unsigned>(division.blocks)),
                    dim3(Kernel::warps * 32), bytes, plan, maps, division.whole);
}

/// The scan, or with segments the scan of their own states, their combination, and the scan.
template <class T, int N, int heads, class Arch>
void scan_segments(const Plan& plan, const typename Arch::Maps& maps, const Launch& launch) {
  using States = Scan<T, N, heads, Arch, false>;
  using Outputs = Scan<T, N, heads, Arch, true>;
  const bool segmented = plan.segments > 1;
  if (!divide<Outputs>(plan, launch).whole || (segmented && !divide<States>(plan, launch).whole)) {
    check(cudaMemsetAsync(plan.ready, 0, 2 * launch.multiprocessors * heads * sizeof(std::int32_t),
                          stream(launch.exec)),
          "ssd_scan: clearing flags");
  }
  if (segmented) {
    launch_scan<T, N, heads, Arch, false>(plan, maps, launch);
    combine_segments(plan, launch.exec, N);
  }
  launch_scan<T, N, heads, Arch, true>(plan, maps, launch);
}

template <class T, class Arch>
void scan(const Plan& plan, const typename Arch::Maps& maps, const Launch& launch, int dstate) {
  const auto with_dstate = [&]<int N>() {
    if (Arch::most_heads == 1 || launch.heads == 1) {
      scan_segments<T, N, 1, Arch>(plan, maps, launch);
    } else {
      scan_segments<T, N, Arch::most_heads, Arch>(plan, maps, launch);
    }
  };
  if (dstate == 64) {
    with_dstate.template operator()<64>();
  } else {
    with_dstate.template operator()<128>();
  }
}

}  // namespace ophis::ssd_scan_cuda::masked_apart
