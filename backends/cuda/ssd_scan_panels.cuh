// What the forms of the scan have in common: how blocks share the work, who has which part of a panel's
// state, and how states begin, end and go from block to block.
#pragma once

#include <algorithm>

#include "backends/cuda/ssd_scan_plan.hpp"
#include "backends/cuda/tensor_core.cuh"
#include "ophis/core/cuda.hpp"

namespace ophis::ssd_scan_cuda {

using namespace ophis::cuda;

__device__ inline float value(const Parameter& parameter, int head, int element) {
  const std::int64_t at = head * parameter.head + element * parameter.element;
  switch (parameter.dtype) {
    case DType::bfloat16:
      return to_float(static_cast<const bfloat16*>(parameter.data)[at]);
    case DType::float16:
      return to_float(static_cast<const float16*>(parameter.data)[at]);
    default:
      return static_cast<const float*>(parameter.data)[at];
  }
}

/// What the decays of a chunk come down to for one head.
struct Weights {
  float a[chunk];       // a_t
  float b[chunk];       // a_s - log2(dt_s)
  float to_end[chunk];  // exp2(a_end - a_s) dt_s
  float decay[chunk];   // exp2(a_t)
};

/// A lane's part of Weights: of the two positions from 2 lane on.
struct LaneWeights {
  float2 a, b, to_end, decay;
};

/// `dt` of the lane's positions; `A` in log2. All lanes of a warp take part.
__device__ inline LaneWeights lane_weights(const float (&dt)[2], float A) {
  const int lane = threadIdx.x % 32;
  const float first = dt[0] * A;
  float sum = first + dt[1] * A;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float other = __shfl_up_sync(~0u, sum, offset);
    if (lane >= offset) sum += other;
  }
  float before = __shfl_up_sync(~0u, sum, 1);
  if (lane == 0) before = 0.0f;
  const float end = __shfl_sync(~0u, sum, 31);
  LaneWeights w;
  w.a = {before + first, sum};
  w.b = {w.a.x - __log2f(dt[0]), w.a.y - __log2f(dt[1])};
  w.to_end = {exp2_fast(end - w.b.x), exp2_fast(end - w.b.y)};
  w.decay = {exp2_fast(w.a.x), exp2_fast(w.a.y)};
  return w;
}

/// What a block works on at a time: some panels of one group, and one segment.
struct Unit {
  int batch, segment, group;
  int first, last;  // panels
};

/// How many blocks share the units, of which there are some, and whether each block has only whole ones.
struct Division {
  int blocks;
  bool whole;

  /// Blocks that have whole units side by side read the B and C of a group at about the same time, once from
  /// memory for all of them. Worth a little idle time where there are many groups.
  Division(std::int64_t units, int ngroups, int multiprocessors)
      : blocks(static_cast<int>(std::min<std::int64_t>(units, multiprocessors))), whole(true) {
    if (units % blocks == 0) return;
    const std::int64_t rounds = (units + blocks - 1) / blocks;
    whole = ngroups > 1 && rounds * blocks * 100 <= units * 105;
    if (whole) blocks = static_cast<int>((units + rounds - 1) / rounds);
  }
};

/// The chunks of a block, among all chunks of all units in order. Whole units are dealt out in turn.
/// Otherwise blocks take equal shares of neighbouring chunks: a share's last unit, if cut, comes first, and
/// its first unit, if cut, last: so no block waits long for a state that another one hands over, and each
/// waits only for the one before it, which has begun earlier.
struct Share {
  int begin, end;
  int head, tail;         // chunks of the cut units at its end and at its begin
  int unit_chunks, skip;  // chunks from a whole unit's end to the begin of the next one that the block has

  __device__ Share(std::int64_t units, int unit_chunks, bool whole, int block, int blocks)
      : begin(static_cast<int>(units * unit_chunks * block / blocks)),
        end(static_cast<int>(units * unit_chunks * (block + 1) / blocks)),
        head(end % unit_chunks),
        tail((unit_chunks - begin % unit_chunks) % unit_chunks),
        unit_chunks(unit_chunks),
        skip(0) {
    if (!whole) return;
    begin = block * unit_chunks;
    end = begin + static_cast<int>((units - block + blocks - 1) / blocks) * unit_chunks;
    head = tail = 0;
    skip = (blocks - 1) * unit_chunks;
  }
  __device__ int size() const { return end - begin; }
  __device__ int operator[](int step) const {
    if (step < head) return end - head + step;
    step -= head;
    if (step < size() - head - tail) return begin + tail + step + step / unit_chunks * skip;
    return begin + step - (size() - head - tail);
  }
  /// Whether a step's chunk, not a unit's first, is the one after that of the step before.
  __device__ bool continues(int step) const { return step != head && step != size() - tail; }
};

/// Where a thread of a warpgroup is: its warp has rows 16 w ... of the panel; of accumulator tile j it has
/// rows g and g + 8 there, columns 8 j + 2 c and the one after.
struct Lane {
  int group, thread, w, g, c;
  __device__ explicit Lane(int group)
      : group(group), thread(threadIdx.x % 128), w(thread / 32), g(thread % 32 / 4), c(thread % 4) {}
  __device__ int row(int i) const { return 16 * w + g + 8 * i; }
  __device__ void barrier() const { named_barrier(1 + group, 128); }
};

/// The panel that a warpgroup works on.
struct Panel {
  Unit unit;
  int index, head, element;  // among all panels; its head, and its first row there
  bool active;               // or only a copy of a neighbour, as the group's panels have run out
  float D[2];                // of the thread's rows
};

template <int count>
__device__ void scale(float (&h)[count], float factor) {
#pragma unroll
  for (int i = 0; i < count; ++i) h[i] *= factor;
}

/// Adds D x; fragments of X' have their elements where accumulators of Y' have theirs.
template <class T>
__device__ void add_skip(const Panel& panel, const std::uint32_t (&x)[4][4], float (&y)[32]) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float2 v = unpack<T>(x[j / 2][j % 2 * 2 + i]);
      y[4 * j + 2 * i] = fmaf(panel.D[i], v.x, y[4 * j + 2 * i]);
      y[4 * j + 2 * i + 1] = fmaf(panel.D[i], v.y, y[4 * j + 2 * i + 1]);
    }
  }
}

/// The units of a plan, and the state of a panel, of which each thread of a warpgroup has N / 2 elements. A
/// scan `with_outputs`, or of the segments' own states.
template <int N, int heads, bool with_outputs>
struct PanelScan {
  const Plan& plan;

  __host__ __device__ static std::int64_t units(const Plan& plan) {
    return static_cast<std::int64_t>(plan.batch) * segments(plan) * plan.ngroups * units_per_group(plan);
  }
  /// The last segment's own state is of no use to others.
  __host__ __device__ static int segments(const Plan& plan) {
    return with_outputs ? plan.segments : plan.segments - 1;
  }
  __host__ __device__ static int group_panels(const Plan& plan) {
    return plan.nheads / plan.ngroups * plan.panels_per_head;
  }
  __host__ __device__ static int units_per_group(const Plan& plan) {
    return (group_panels(plan) + heads - 1) / heads;
  }

  /// The step size that `raw` stands for, or 0 where there is no position.
  __device__ float time_step(float raw, float bias, bool exists) const {
    float dt = raw + bias;
    if (plan.dt_softplus) dt = softplus_fast(dt);
    return exists ? fminf(fmaxf(dt, plan.dt_min), plan.dt_max) : 0.0f;
  }

  __device__ Unit unit(int index) const {
    const int per_group = units_per_group(plan);
    Unit unit;
    const int at = index % per_group;
    unit.group = index / per_group % plan.ngroups;
    index /= per_group * plan.ngroups;
    unit.segment = index % segments(plan);
    unit.batch = index / segments(plan);
    unit.first = unit.group * group_panels(plan) + at * heads;
    unit.last = (unit.group + 1) * group_panels(plan) - 1;
    return unit;
  }

  __device__ std::int64_t segment_panel(const Panel& panel, int segment) const {
    const std::int64_t row = static_cast<std::int64_t>(panel.unit.batch) * plan.segments + segment;
    return row * plan.nheads * plan.panels_per_head + panel.index;
  }
  __device__ float* segment_state(const Panel& panel, int segment) const {
    return plan.segment_states + segment_panel(panel, segment) * (chunk * N);
  }

  /// The address of a thread's first two elements in row i of its two.
  __device__ static float* address(const States& states, const Lane& lane, const Panel& panel, int i) {
    return states.data + panel.unit.batch * states.batch + panel.head * states.head +
           (panel.element + lane.row(i)) * states.row + 2 * lane.c;
  }

  /// The state at a segment's start. The scan of the segments' own states keeps initial_states for the scan
  /// that comes after it, as final_states may be the same memory.
  __device__ void start(const Lane& lane, const Panel& panel, float (&h)[N / 2]) const {
    const int segment = panel.unit.segment;
    const bool initial = segment == 0 && plan.initial_states.data;
    if (with_outputs && plan.segments > 1 && (initial || segment > 0))
      return load(lane, segment_state(panel, segment), h);
    if (!initial) {
#pragma unroll
      for (int i = 0; i < N / 2; ++i) h[i] = 0.0f;
      return;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float* const from = address(plan.initial_states, lane, panel, i);
#pragma unroll
      for (int j = 0; j < N / 8; ++j) {
        const float2 v = *reinterpret_cast<const float2*>(from + 8 * j);
        h[4 * j + 2 * i] = v.x, h[4 * j + 2 * i + 1] = v.y;
      }
    }
    if (!with_outputs) store(lane, segment_state(panel, 0), h);
  }

  __device__ void finish(const Lane& lane, const Panel& panel, const float (&h)[N / 2],
                         float log_decay) const {
    const int segment = panel.unit.segment;
    if constexpr (!with_outputs) {
      store(lane, segment_state(panel, segment + 1), h);
      if (lane.thread == 0) plan.segment_decays[segment_panel(panel, segment + 1)] = log_decay;
    } else if (plan.final_states.data && segment == plan.segments - 1) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float* const to = address(plan.final_states, lane, panel, i);
#pragma unroll
        for (int j = 0; j < N / 8; ++j)
          *reinterpret_cast<float2*>(to + 8 * j) = {h[4 * j + 2 * i], h[4 * j + 2 * i + 1]};
      }
    }
  }

  __device__ static void load(const Lane& lane, const float* from, float (&h)[N / 2]) {
#pragma unroll
    for (int j = 0; j < N / 8; ++j) {
      const float4 v = __ldcg(reinterpret_cast<const float4*>(from) + 128 * j + lane.thread);
      h[4 * j] = v.x, h[4 * j + 1] = v.y, h[4 * j + 2] = v.z, h[4 * j + 3] = v.w;
    }
  }
  __device__ static void store(const Lane& lane, float* to, const float (&h)[N / 2]) {
#pragma unroll
    for (int j = 0; j < N / 8; ++j)
      __stcg(reinterpret_cast<float4*>(to) + 128 * j + lane.thread,
             float4{h[4 * j], h[4 * j + 1], h[4 * j + 2], h[4 * j + 3]});
  }

  /// A block's cut last unit goes on in the next block.
  static constexpr int handoff_count = panel * N + handoff_extra;
  __device__ void hand_over(const Lane& lane, const float (&h)[N / 2], float log_decay) const {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * heads + lane.group;
    float* const to = plan.handoff + at * handoff_count;
    store(lane, to, h);
    if (lane.thread == 0) to[panel * N] = log_decay;
    __threadfence();
    lane.barrier();
    if (lane.thread == 0) {
      int* const flag = plan.ready + (with_outputs ? 0 : gridDim.x * heads) + at;
      asm volatile("st.release.gpu.global.s32 [%0], 1;" ::"l"(flag) : "memory");
    }
  }
  __device__ void take_over(const Lane& lane, float (&h)[N / 2], float& log_decay) const {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x - 1) * heads + lane.group;
    const int* const flag = plan.ready + (with_outputs ? 0 : gridDim.x * heads) + at;
    int done = 0;
    while (done == 0) asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(done) : "l"(flag) : "memory");
    const float* const from = plan.handoff + at * handoff_count;
    load(lane, from, h);
    log_decay = __ldcg(from + panel * N);
  }
};

}  // namespace ophis::ssd_scan_cuda
