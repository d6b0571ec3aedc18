// The scan of ssd_scan on tensor cores, chunk after chunk, with the state in registers. Hopper has its own
// form (ssd_scan_kernel_sm90.cuh).
//
// With the state H (panel, dstate) at a chunk's start, a_t the sum of dt A from there up to position t (in
// log2), X the chunk's rows of x and M[t, s] = (C_t . B_s) exp2(a_t - a_s) dt_s for s <= t, else 0:
//
//     Y' = (H C') diag(exp2(a)) + X' M'
//     H <- exp2(a_end) H + (diag(exp2(a_end - a) dt) X)' B
//
// Y is computed transposed so that H, from the accumulators of the last product, is the first operand of the
// next without leaving its registers. C . B' is the same for all heads of a group; a kernel before this one
// has computed it. 128 threads (a warpgroup) work on a panel; the panels of a block are of one group and
// share C, B and C . B'. More warps are a chunk or two ahead: one fetches, others compute the decays.
#pragma once

#include "backends/cuda/ssd_scan_panels.cuh"

namespace ophis::ssd_scan_cuda {

template <int N, int heads>
struct Stage {
  Tile C[N / 64], B[N / 64], x[heads];
  float products[product_count];
  Weights weights[heads];
};

template <int N, int heads, int stages>
struct Shared {
  Stage<N, heads> stage[stages];
  Tile M[heads][2];  // of this chunk and the next; the outputs on their way out replace what was used
  // At all of these every thread of a warp arrives: what it has read and written itself comes before.
  std::uint64_t loaded[stages], ready[stages], empty[stages];
};

template <class T, int N, int heads, class Arch, bool with_outputs>
struct Scan : PanelScan<N, heads, with_outputs> {
  using Base = PanelScan<N, heads, with_outputs>;
  using Base::plan;
  using Memory = Shared<N, heads, Arch::stages>;
  static constexpr int warps = heads * 4 + 4;

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
      if (++stage == Arch::stages) stage = 0, parity ^= 1;
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
    __device__ Stage<N, heads>& memory() const { return scan.memory.stage[stage]; }
    __device__ std::uint32_t loaded() const { return shared_address(&scan.memory.loaded[stage]); }
    __device__ std::uint32_t ready() const { return shared_address(&scan.memory.ready[stage]); }
    __device__ void wait_empty() const { Arch::wait(shared_address(&scan.memory.empty[stage]), parity ^ 1); }
    __device__ void wait_loaded() const { Arch::wait(loaded(), parity); }
    __device__ void wait_ready() const { Arch::wait(ready(), parity); }
    __device__ void release() const { barrier_arrive(shared_address(&scan.memory.empty[stage])); }

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
      Arch::template share_registers<heads, true>();
      consume(warp / 4);
    } else {
      Arch::template share_registers<heads, false>();
      if (warp == heads * 4) {
        fetch();
      } else if (warp - heads * 4 <= heads) {
        weigh(warp - heads * 4 - 1);
      }
    }
  }

  /// One warp: copies what each chunk needs.
  __device__ void fetch() const {
    for (Cursor cursor(*this); cursor; cursor.advance()) {
      const Unit& u = cursor.unit;
      const std::int64_t row =
          (static_cast<std::int64_t>(u.batch) * plan.segments + u.segment) * plan.segment_chunks +
          cursor.index;
      const float* const products = plan.products + (row * plan.ngroups + u.group) * product_count;
      cursor.wait_empty();
      Arch::template fetch<T, N, heads, with_outputs>(plan, maps, cursor.memory(), cursor.loaded(), u,
                                                      cursor.position(), products);
    }
  }

  /// One warp: computes the weights of each chunk for one of the panels.
  __device__ void weigh(int group) const {
    Cursor ahead(*this);
    std::uint32_t next[2];
    float bias = 0.0f, A = 0.0f;
    load_steps(ahead, group, next);
    for (Cursor cursor(*this); cursor; cursor.advance()) {
      const std::uint32_t raw[2] = {next[0], next[1]};
      ahead.advance();
      if (ahead) load_steps(ahead, group, next);
      if (cursor.first) {
        const int head = cursor.panel_of(group) / plan.panels_per_head;
        if (plan.dt_bias.data) bias = value(plan.dt_bias, head, 0);
        A = value(plan.A, head, 0) * log2_e;
      }
      const std::int64_t l = cursor.position() + 2 * (threadIdx.x % 32);
      const float dt[2] = {time_step(raw[0], bias, l), time_step(raw[1], bias, l + 1)};
      cursor.wait_empty();
      weigh(dt, A, cursor.memory().weights[group]);
      barrier_arrive(cursor.ready());
    }
  }

  /// The bits of dt of the two positions that a lane has.
  __device__ void load_steps(const Cursor& cursor, int group, std::uint32_t (&to)[2]) const {
    const std::int64_t l = cursor.position() + 2 * (threadIdx.x % 32);
    const int head = cursor.panel_of(group) / plan.panels_per_head;
    const T* const from = static_cast<const T*>(plan.dt) + cursor.unit.batch * plan.dt_rows.batch +
                          l * plan.dt_rows.position + head * plan.dt_rows.head;
    to[0] = l < plan.seqlen ? from[0].bits : 0;
    to[1] = l + 1 < plan.seqlen ? from[plan.dt_rows.position].bits : 0;
  }

  __device__ float time_step(std::uint32_t bits, float bias, std::int64_t l) const {
    T raw;
    raw.bits = static_cast<std::uint16_t>(bits);
    return Base::time_step(to_float(raw), bias, l < plan.seqlen);
  }

  /// One warp: a lane has two positions.
  __device__ static void weigh(const float (&dt)[2], float A, Weights& weights) {
    const int lane = threadIdx.x % 32;
    const LaneWeights own = lane_weights(dt, A);
    reinterpret_cast<float2*>(weights.a)[lane] = own.a;
    reinterpret_cast<float2*>(weights.b)[lane] = own.b;
    reinterpret_cast<float2*>(weights.to_end)[lane] = own.to_end;
    reinterpret_cast<float2*>(weights.decay)[lane] = own.decay;
  }

  /// Four warps: the scan of one panel after the other.
  __device__ void consume(int group) {
    const Lane lane(group);
    float h[N / 2];
    float log_decay = 0.0f;
    Panel panel;
    Cursor cursor(*this);
    if (cursor && with_outputs) {
      Masked masked;
      cursor.wait_loaded();
      cursor.wait_ready();
      mask(lane, cursor.memory(), masked);
      store(lane, masked, memory.M[group][0]);
      Arch::publish();
      lane.barrier();
    }
    for (; cursor; cursor.advance()) {
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
      cursor.wait_loaded();
      if constexpr (with_outputs) {
        compute(lane, cursor, panel, h);
      } else {
        cursor.wait_ready();
        advance(lane, cursor.memory(), h, log_decay);
      }
      cursor.release();
      if (cursor.index == plan.segment_chunks - 1) {
        if (panel.active) Base::finish(lane, panel, h, log_decay);
      } else if (cursor.at == share.end - 1) {
        Base::hand_over(lane, h, log_decay);
      }
    }
    if (with_outputs) Arch::wait_written(lane.thread);
  }

  /// One chunk's outputs and state; M of the next chunk meanwhile.
  __device__ void compute(const Lane& lane, const Cursor& cursor, const Panel& panel, float (&h)[N / 2]) {
    Stage<N, heads>& stage = cursor.memory();
    const Weights& weights = stage.weights[lane.group];
    Tile& M = memory.M[lane.group][cursor.step % 2];
    float y[32];
    std::uint32_t x[4][4], weighted[4][4];
    {
      std::uint32_t state[N / 16][4];
#pragma unroll
      for (int k = 0; k < N / 16; ++k) {
#pragma unroll
        for (int i = 0; i < 4; ++i) state[k][i] = pack<T>(h[8 * k + 2 * i], h[8 * k + 2 * i + 1]);
      }
      scale(h, weights.decay[chunk - 1]);
      Arch::fence();
      Arch::template multiply<T, 64, 0>(y, state[0], shared_address(&stage.C[0]), 0, 0);
#pragma unroll
      for (int k = 1; k < N / 16; ++k)
        Arch::template multiply<T, 64, 1>(y, state[k], shared_address(&stage.C[k / 4]), 0, k % 4);
      Arch::commit();
      load_fragments(lane, stage.x[lane.group], x);
      weigh_fragments(lane, weights, x, weighted);
      Arch::template wait_groups<0>();
      Arch::settle(y);
    }
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

    Masked masked;
    const bool more = cursor.step + 1 < share.size();
    if (more) {
      const int next = cursor.stage + 1 == Arch::stages ? 0 : cursor.stage + 1;
      const std::uint32_t parity = cursor.parity ^ (next == 0 ? 1 : 0);
      Arch::wait(shared_address(&memory.loaded[next]), parity);
      Arch::wait(shared_address(&memory.ready[next]), parity);
      mask(lane, memory.stage[next], masked);
    }
    Arch::template wait_groups<1>();
    Arch::settle(y);
    if (plan.D.data) add_skip<T>(panel, x, y);
    Arch::wait_written(lane.thread);
    lane.barrier();  // M of this chunk is free, and what it was before the chunk before has been written out
    if (plan.z) gate(lane, panel, cursor.position(), M, y);
    if (more) store(lane, masked, memory.M[lane.group][(cursor.step + 1) % 2]);
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      Arch::store_transposed(shared_address(&M), j, 2 * lane.w, pack<T>(y[4 * j], y[4 * j + 1]),
                             pack<T>(y[4 * j + 2], y[4 * j + 3]), pack<T>(y[4 * j + 4], y[4 * j + 5]),
                             pack<T>(y[4 * j + 6], y[4 * j + 7]));
    }
    Arch::publish();
    lane.barrier();
    if (panel.active)
      Arch::template write<T>(plan, maps, M, lane.thread, panel.unit.batch, cursor.position(), panel.head,
                              panel.element);
    Arch::template wait_groups<0>();
    Arch::settle(h);
  }

  /// One chunk's state alone.
  __device__ static void advance(const Lane& lane, Stage<N, heads>& stage, float (&h)[N / 2],
                                 float& log_decay) {
    const Weights& weights = stage.weights[lane.group];
    std::uint32_t x[4][4], weighted[4][4];
    load_fragments(lane, stage.x[lane.group], x);
    weigh_fragments(lane, weights, x, weighted);
    scale(h, weights.decay[chunk - 1]);
    log_decay += weights.a[chunk - 1];
    Arch::fence();
    add_to_state(stage, weighted, h);
    Arch::template wait_groups<0>();
    Arch::settle(h);
  }

  __device__ static void add_to_state(Stage<N, heads>& stage, const std::uint32_t (&weighted)[4][4],
                                      float (&h)[N / 2]) {
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

  __device__ static void weigh_fragments(const Lane& lane, const Weights& weights,
                                         const std::uint32_t (&x)[4][4], std::uint32_t (&to)[4][4]) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 w = *reinterpret_cast<const float2*>(&weights.to_end[16 * k + 8 * (i / 2) + 2 * lane.c]);
        const float2 v = unpack<T>(x[k][i]);
        to[k][i] = pack<T>(v.x * w.x, v.y * w.y);
      }
    }
  }

  /// What a thread computes of M: four columns of one row in every second block.
  struct Masked {
    uint2 values[5];
  };
  /// The row and the first column of a thread's part of its block r; r = 5 is above the diagonal.
  __device__ static int2 place(const Lane& lane, int r) {
    const int half = lane.thread / 64;
    const int rows[6] = {half, 2 + half, 1 + half, 3 - half, 3, 2 * half};
    const int columns[6] = {half, 2 + half, half, 2 - 2 * half, 1 - half, 2 * half + 1};
    return {16 * rows[r] + lane.thread % 64 / 4, 16 * columns[r] + 4 * (lane.thread % 4)};
  }

  __device__ static void mask(const Lane& lane, const Stage<N, heads>& stage, Masked& to) {
    const Weights& weights = stage.weights[lane.group];
#pragma unroll
    for (int r = 0; r < 5; ++r) {
      const int2 at = place(lane, r);
      const float4 product = reinterpret_cast<const float4*>(stage.products)[128 * r + lane.thread];
      const float4 b = *reinterpret_cast<const float4*>(&weights.b[at.y]);
      const float a = weights.a[at.x];
      float m[4] = {product.x * exp2_fast(a - b.x), product.y * exp2_fast(a - b.y),
                    product.z * exp2_fast(a - b.z), product.w * exp2_fast(a - b.w)};
      if (r < 2) {
#pragma unroll
        for (int i = 0; i < 4; ++i) m[i] = at.y + i <= at.x ? m[i] : 0.0f;
      }
      to.values[r] = {pack<T>(m[0], m[1]), pack<T>(m[2], m[3])};
    }
  }

  /// Writes M, with zeros in the blocks above the diagonal that are read.
  __device__ static void store(const Lane& lane, const Masked& masked, Tile& M) {
#pragma unroll
    for (int r = 0; r < 6; ++r) {
      const int2 at = place(lane, r);
      *reinterpret_cast<uint2*>(M.bytes + tile_offset(at.x, at.y / 8) + at.y % 8 * 2) =
          r < 5 ? masked.values[r] : uint2{};
    }
  }

  /// Multiplies by silu(z); z comes by way of a tile that is free.
  __device__ void gate(const Lane& lane, const Panel& panel, std::int64_t l, Tile& tile,
                       float (&y)[32]) const {
    const int chunk_of_row = lane.thread % 8, row = lane.thread / 8;
    const T* const z = static_cast<const T*>(plan.z) + panel.unit.batch * plan.z_rows.batch +
                       panel.head * plan.z_rows.head + panel.element + chunk_of_row * 8;
#pragma unroll
    for (int t = row; t < chunk; t += 16) {
      uint4 v{};
      if (l + t < plan.seqlen) v = *reinterpret_cast<const uint4*>(z + (l + t) * plan.z_rows.position);
      *reinterpret_cast<uint4*>(tile.bytes + tile_offset(t, chunk_of_row)) = v;
    }
    lane.barrier();
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
    lane.barrier();
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
    for (int i = 0; i < Arch::stages; ++i) {
      barrier_init(shared_address(&memory.loaded[i]), Arch::fetch_arrivals);
      barrier_init(shared_address(&memory.ready[i]), heads * 32);
      barrier_init(shared_address(&memory.empty[i]), heads * 128);
    }
    Arch::publish();
  }
  __syncthreads();
  Kernel{{plan},
         Arch::maps(maps),
         memory,
         Share(Kernel::units(plan), plan.segment_chunks, whole_units, static_cast<int>(blockIdx.x),
               static_cast<int>(gridDim.x))}
      .run();
}

/// Launches the scan of `Kernel`'s panels on up to launch.multiprocessors blocks.
template <class T, int N, int heads, class Arch, bool with_outputs>
void launch_scan(const Plan& plan, const typename Arch::Maps& maps, const Launch& launch) {
  using Kernel = Scan<T, N, heads, Arch, with_outputs>;
  const auto kernel = scan_kernel<T, N, heads, Arch, with_outputs>;
  const Division division(Kernel::units(plan), plan.ngroups, launch.multiprocessors);
  constexpr int bytes = sizeof(typename Kernel::Memory);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "ssd_scan: shared memory of the scan");
  kernel<<<static_cast<unsigned>(division.blocks), Kernel::warps * 32, bytes, stream(launch.exec)>>>(
      plan, maps, division.whole);
  check_launch("ssd_scan: scan");
}

/// The scan, or with segments the scan of their own states, their combination, and the scan.
template <class T, int N, int heads, class Arch>
void scan_segments(const Plan& plan, const typename Arch::Maps& maps, const Launch& launch) {
  check(cudaMemsetAsync(plan.ready, 0, 2 * launch.multiprocessors * heads * sizeof(std::int32_t),
                        stream(launch.exec)),
        "ssd_scan: clearing flags");
  if (plan.segments > 1) {
    launch_scan<T, N, heads, Arch, false>(plan, maps, launch);
    combine_segments(plan, launch.exec, N);
  }
  launch_scan<T, N, heads, Arch, true>(plan, maps, launch);
}

template <class T, class Arch>
void scan(const Plan& plan, const typename Arch::Maps& maps, const Launch& launch, int dstate) {
  const auto with_dstate = [&]<int N>() {
    if (launch.heads == 1) {
      scan_segments<T, N, 1, Arch>(plan, maps, launch);
    } else {
      scan_segments<T, N, 2, Arch>(plan, maps, launch);
    }
  };
  if (dstate == 64) {
    with_dstate.template operator()<64>();
  } else {
    with_dstate.template operator()<128>();
  }
}

}  // namespace ophis::ssd_scan_cuda
