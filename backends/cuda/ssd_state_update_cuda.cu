// ssd_state_update: memory bound, as the state is read and written once and everything else is small. The
// lanes of a row (one element p of a head, dstate numbers) hold four states each per access; a thread loads
// all its rows before it uses the first.
#include "backends/cuda/ssd_state_update_cuda.hpp"

#include <utility>

#include "backends/cuda/fours.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/parameter.cuh"
#include "ops/common/state_dtype.hpp"

namespace ophis::ssd_state_update_cuda {
namespace {

using cuda::from_float;
using cuda::in_fours;
using cuda::load4;
using cuda::Parameter;
using cuda::store4;
using cuda::to_float;

constexpr int threads = 128;
constexpr int blocks_abreast = 9;  // on a multiprocessor, where a thread has many rows

struct Params {
  void* state;
  const void *x, *dt, *B, *C, *z;
  void* out;
  std::int64_t state_strides[3];  // batch, head, p; dense along dstate
  std::int64_t x_strides[3], z_strides[3], out_strides[3];
  std::int64_t dt_strides[2], B_strides[2], C_strides[2];  // batch and head or group
  Parameter A, D, dt_bias;
  float dt_min, dt_max;
  int headdim, heads_per_group;
  bool dt_softplus, D_by_element;
};

/// A block has threads / lanes rows abreast, `rows` times. dstate = 4 lanes vectors. Grid: (blocks of
/// headdim, nheads, batch).
template <class T, class S, int lanes, int vectors, int rows>
__global__ void __launch_bounds__(threads, blocks_abreast)
    ssd_state_update_kernel(const __grid_constant__ Params p) {
  constexpr int rows_abreast = threads / lanes;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes;
  const int first = static_cast<int>(blockIdx.x) * rows * rows_abreast + thread / lanes;
  const std::int64_t head = blockIdx.y, b = blockIdx.z, group = head / p.heads_per_group;

  S* const states = static_cast<S*>(p.state) + b * p.state_strides[0] + head * p.state_strides[1] + lane * 4;
  const T* const x = static_cast<const T*>(p.x) + b * p.x_strides[0] + head * p.x_strides[1];
  const T* const z = static_cast<const T*>(p.z) + b * p.z_strides[0] + head * p.z_strides[1];
  // What is read later is on its way to the second-level cache while the kernel before still runs.
  cuda::start_next_kernel();
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const int row = min(first + r * rows_abreast, p.headdim - 1);
#pragma unroll
    for (int v = 0; v < vectors; ++v) cuda::prefetch(states + row * p.state_strides[2] + v * lanes * 4);
  }
  if (thread == 0) {
    p.A.prefetch(head);
    p.dt_bias.prefetch(head);
    p.D.prefetch(head);
  }
  cuda::wait_for_previous_kernel();

  // All is read before anything is computed, but for what one lane of a row reads where rows are many: those
  // are bound by the number of accesses.
  constexpr bool reads_ahead = rows <= 2;
  float state[rows][vectors][4];
  T input[rows], gate[rows];
  std::uint32_t D[rows];
  const auto read_for_output = [&](int r) {
    const int row = min(first + r * rows_abreast, p.headdim - 1);
    D[r] = p.D.load(head, p.D_by_element ? row : 0);
    gate[r] = p.z ? z[row * p.z_strides[2]] : T{};
  };
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const int row = min(first + r * rows_abreast, p.headdim - 1);
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      load4(state[r][v], states + row * p.state_strides[2] + v * lanes * 4);
    }
    input[r] = x[row * p.x_strides[2]];
    if constexpr (reads_ahead) read_for_output(r);
  }
  const T dt_given = static_cast<const T*>(p.dt)[b * p.dt_strides[0] + head * p.dt_strides[1]];
  const std::uint32_t dt_bias = p.dt_bias.load(head), A = p.A.load(head);
  float B[vectors][4], C[vectors][4];
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    const int n = (v * lanes + lane) * 4;
    load4(B[v], static_cast<const T*>(p.B) + b * p.B_strides[0] + group * p.B_strides[1] + n);
    load4(C[v], static_cast<const T*>(p.C) + b * p.C_strides[0] + group * p.C_strides[1] + n);
  }

  float dt = to_float(dt_given) + p.dt_bias.value(dt_bias);
  if (p.dt_softplus) dt = cuda::softplus_fast(dt);
  dt = dt < p.dt_min ? p.dt_min : dt > p.dt_max ? p.dt_max : dt;  // NaN stays NaN
  const float decay = cuda::exp2_fast(cuda::log2_e * dt * p.A.value(A));

#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const int row = first + r * rows_abreast;
    const bool valid = row < p.headdim;
    const float dx = dt * to_float(input[r]);
    float sum = 0.0f;
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      float(&s)[4] = state[r][v];
#pragma unroll
      for (int i = 0; i < 4; ++i) s[i] = fmaf(decay, s[i], dx * B[v][i]);
      if (valid) store4(states + row * p.state_strides[2] + v * lanes * 4, s);
      sum += fmaf(C[v][0], s[0], C[v][1] * s[1]) + fmaf(C[v][2], s[2], C[v][3] * s[3]);
    }
#pragma unroll
    for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (!valid || lane != 0) continue;
    if constexpr (!reads_ahead) read_for_output(r);
    sum = fmaf(p.D.value(D[r]), to_float(input[r]), sum);
    if (p.z) sum *= cuda::silu_fast(to_float(gate[r]));
    static_cast<T*>(p.out)[b * p.out_strides[0] + head * p.out_strides[1] + row * p.out_strides[2]] =
        from_float<T>(sum);
  }
}

template <class T, class S, int lanes, int vectors, int rows>
void launch(const Params& p, std::int64_t batch, std::int64_t nheads, ExecContext& exec) {
  constexpr int block_rows = rows * threads / lanes;
  const dim3 grid(static_cast<unsigned>((p.headdim + block_rows - 1) / block_rows),
                  static_cast<unsigned>(nheads), static_cast<unsigned>(batch));
  cuda::launch_overlapped("ssd_state_update", exec, ssd_state_update_kernel<T, S, lanes, vectors, rows>, grid,
                          threads, 0, p);
}

template <int count>
void copy_strides(std::int64_t (&to)[count], const Tensor& from) {
  for (int i = 0; i < count; ++i) to[i] = from ? from.stride(i) : 0;
}

Params make_params(const SsdStateUpdateArgs& args) {
  Params p{args.state.raw(),
           args.x.raw(),
           args.dt.raw(),
           args.B.raw(),
           args.C.raw(),
           args.z.raw(),
           args.out.raw(),
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           Parameter(args.A),
           Parameter(args.D),
           Parameter(args.dt_bias),
           static_cast<float>(args.dt_min),
           static_cast<float>(args.dt_max),
           static_cast<int>(args.x.extent(2)),
           static_cast<int>(args.x.extent(1) / args.B.extent(1)),
           args.dt_softplus,
           args.D && args.D.rank() == 2};
  copy_strides(p.state_strides, args.state);
  copy_strides(p.x_strides, args.x);
  copy_strides(p.z_strides, args.z);
  copy_strides(p.out_strides, args.out);
  copy_strides(p.dt_strides, args.dt);
  copy_strides(p.B_strides, args.B);
  copy_strides(p.C_strides, args.C);
  return p;
}

}  // namespace

const char* why_not(Device device, const SsdStateUpdateArgs& args) {
  if (device.type != DeviceType::cuda) return "not on a CUDA device";
  const std::int64_t dstate = args.B.extent(2);
  if (dstate != 16 && dstate != 32 && dstate != 64 && dstate != 128 && dstate != 256)
    return "dstate is not 16, 32, 64, 128 or 256";
  if (!in_fours(args.state) || !in_fours(args.B) || !in_fours(args.C))
    return "state, B or C is not dense and aligned along dstate";
  if (args.x.extent(0) > 65535 || args.x.extent(1) > 65535) return "batch or nheads is above 65535";
  return nullptr;
}

void run(ExecContext& exec, const SsdStateUpdateArgs& args) {
  if (args.x.count() == 0) return;
  const std::int64_t batch = args.x.extent(0), nheads = args.x.extent(1), headdim = args.x.extent(2);
  const std::int64_t dstate = args.B.extent(2);
  const Params p = make_params(args);
  const auto run_with = [&]<class T, class S>(std::type_identity<T>, std::type_identity<S>) {
    const auto with_lanes = [&]<int lanes, int vectors>(std::integer_sequence<int, lanes, vectors>) {
      // More loads in flight a thread, where that leaves enough blocks for the device.
      if (batch * nheads * headdim * lanes > 1024 * 1024)
        launch<T, S, lanes, vectors, 16 / sizeof(S) / vectors>(p, batch, nheads, exec);
      else
        launch<T, S, lanes, vectors, 2 / vectors>(p, batch, nheads, exec);
    };
    switch (dstate) {
      case 16:
        return with_lanes(std::integer_sequence<int, 4, 1>{});
      case 32:
        return with_lanes(std::integer_sequence<int, 8, 1>{});
      case 64:
        return with_lanes(std::integer_sequence<int, 16, 1>{});
      case 128:
        return with_lanes(std::integer_sequence<int, 32, 1>{});
      default:
        return with_lanes(std::integer_sequence<int, 32, 2>{});
    }
  };
  dispatch_with_state(args.x.dtype(), args.state.dtype(), run_with);
}

}  // namespace ophis::ssd_state_update_cuda
