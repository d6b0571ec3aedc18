// selective_scan by the kernel of selective_scan_kernel.cuh: which layouts it takes, and which form of block.
#include "backends/cuda/selective_scan_cuda.hpp"

#include <algorithm>
#include <array>

#include "backends/cuda/selective_scan_kernel.cuh"
#include "ophis/core/cuda.hpp"

namespace ophis::selective_scan_cuda {
namespace {

/// A form of block, and what choosing it needs to know.
struct Variant {
  int channels, positions;  // of a warp
  int warps, blocks_per_multiprocessor;
  /// The time of a position in ns on an H100, of a block that has a multiprocessor for itself and of as many
  /// as fit.
  double alone, shared;
  int (*shared_bytes)(int warps, int dstate);
  void (*launch)(Params p, int warps, std::int64_t nseq, cudaStream_t stream);
};

template <class Form>
void launch(Params p, int warps, std::int64_t nseq, cudaStream_t stream) {
  const int shared_bytes = Form::shared_bytes(warps, p.dstate);
  cuda::check(cudaFuncSetAttribute(selective_scan_kernel<Form>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   shared_bytes),
              "cudaFuncSetAttribute");
  p.channel_blocks = (p.dim + Form::channels - 1) / Form::channels;
  selective_scan_kernel<Form>
      <<<static_cast<unsigned>(nseq * p.channel_blocks), static_cast<unsigned>(32 * warps),
         static_cast<std::size_t>(shared_bytes), stream>>>(p);
  cuda::check_launch("selective_scan");
}

template <class Form>
constexpr Variant make_variant(int warps, double alone, double shared) {
  return {Form::channels, Form::positions,    warps,       max_threads / (32 * warps), alone,
          shared,         Form::shared_bytes, launch<Form>};
}

/// They all give the same bits. A few warps that share a multiprocessor with another block's are fastest;
/// many warps, or narrow ones, serve what has too few channels for that.
template <class T, bool time_dense>
inline constexpr std::array variants{make_variant<Form<T, time_dense, 1, 2>>(8, 30, 55),
                                     make_variant<Form<T, time_dense, 1, 1>>(16, 28, 28),
                                     make_variant<Form<T, time_dense, 2, 1>>(8, 26, 31)};

std::int64_t sequences(const SelectiveScanArgs& args) {
  return args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.u.extent(0);
}

/// The time of a position of a scan whose blocks run in rounds, as many at a time as fit.
double cost(const Variant& v, int shared_bytes, std::int64_t blocks,
            const cuda::DeviceProperties& properties) {
  const std::int64_t fitting =
      std::min(v.blocks_per_multiprocessor, properties.shared_memory_per_block / shared_bytes);
  const std::int64_t rounds = blocks / (fitting * properties.multiprocessors);
  const std::int64_t rest = blocks - rounds * fitting * properties.multiprocessors;
  const auto round = [&](bool alone) { return alone ? v.alone : v.shared; };
  return static_cast<double>(rounds) * round(fitting == 1) +
         (rest == 0 ? 0.0 : round(rest <= properties.multiprocessors));
}

/// The fastest variant whose blocks fit the device and lie in one group each, or nullptr.
template <class T, bool time_dense>
const Variant* choose(Device device, const SelectiveScanArgs& args) {
  const cuda::DeviceProperties& properties = cuda::properties(device);
  const std::int64_t dim = args.u.extent(2);
  const auto fits = [&](const Tensor& coefficient, int channels) {
    const std::int64_t groups = coefficient.extent(2);
    return groups == 1 || dim / groups % channels == 0;
  };
  const Variant* best = nullptr;
  double best_cost = 0;
  for (const Variant& v : variants<T, time_dense>) {
    const int channels = v.channels;
    const int shared_bytes = v.shared_bytes(v.warps, static_cast<int>(args.A.extent(1)));
    if (shared_bytes > properties.shared_memory_per_block) continue;
    if (!fits(args.B, channels) || !fits(args.C, channels)) continue;
    const std::int64_t blocks = sequences(args) * ((dim + channels - 1) / channels);
    const double v_cost = cost(v, shared_bytes, blocks, properties);
    if (blocks >= std::int64_t{1} << 31 || (best && v_cost >= best_cost)) continue;
    best = &v;
    best_cost = v_cost;
  }
  return best;
}

/// Whether octets along an axis can be read in 16-byte accesses.
bool in_octets(const Tensor& tensor, int axis) {
  if (!tensor) return true;
  const auto width = static_cast<std::int64_t>(16 / size_of(tensor.dtype()));
  for (int i = 0; i < tensor.rank(); ++i) {
    if (i == axis ? tensor.stride(i) != 1 : tensor.extent(i) > 1 && tensor.stride(i) % width != 0)
      return false;
  }
  return tensor.extent(axis) % 8 == 0 && reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16 == 0;
}

bool all_in_octets(const SelectiveScanArgs& args, bool time_dense) {
  const int axis = time_dense ? 1 : 2, coefficient_axis = time_dense ? 1 : 3;
  return in_octets(args.u, axis) && in_octets(args.delta, axis) && in_octets(args.z, axis) &&
         in_octets(args.out, axis) && in_octets(args.B, coefficient_axis) &&
         in_octets(args.C, coefficient_axis);
}

/// Calls f with the type of the activations and whether they are dense along time.
template <class F>
decltype(auto) with_layout(const SelectiveScanArgs& args, F f) {
  return dispatch_compute_dtype(args.u.dtype(), [&]<class T>(std::type_identity<T> type) {
    return all_in_octets(args, false) ? f(type, std::false_type{}) : f(type, std::true_type{});
  });
}

/// `round_positions`: between a warp's turns.
Params make_params(const SelectiveScanArgs& args, bool time_dense, int round_positions) {
  const std::int64_t dim = args.u.extent(2);
  return {Activation(args.u, time_dense, round_positions),
          Activation(args.delta, time_dense, round_positions),
          Activation(args.z, time_dense, round_positions),
          Activation(args.out, time_dense, round_positions),
          Coefficient(args.B, dim, time_dense, round_positions),
          Coefficient(args.C, dim, time_dense, round_positions),
          cuda::Parameter(args.A),
          cuda::Parameter(args.D),
          cuda::Parameter(args.delta_bias),
          States(args.initial_states),
          States(args.final_states),
          args.cu_seqlens ? args.cu_seqlens.data<std::int32_t>() : nullptr,
          args.u.extent(1),
          static_cast<int>(dim),
          static_cast<int>(args.A.extent(1)),
          0,
          args.delta_softplus};
}

}  // namespace

const char* why_not(Device device, const SelectiveScanArgs& args) {
  if (device.type != DeviceType::cuda) return "not on a CUDA device";
  if (cuda::properties(device).compute_capability < 80)
    return "the device is older than compute capability 8.0";
  if (args.B.rank() == 2 || args.C.rank() == 2) return "B or C is constant";
  if (args.A.extent(1) % state_block != 0 || args.A.extent(1) > 256)
    return "dstate is not a multiple of 16 up to 256";
  if (args.u.extent(1) >= std::int64_t{1} << 30 || args.u.extent(2) >= std::int64_t{1} << 30)
    return "seqlen or dim is too large";
  const bool channels_dense = all_in_octets(args, false);
  if (!channels_dense && (args.cu_seqlens || !all_in_octets(args, true)))
    return "the layout does not allow 16-byte accesses";
  const bool any = with_layout(args, [&]<class T, class TimeDense>(std::type_identity<T>, TimeDense) {
    return choose<T, TimeDense::value>(device, args) != nullptr;
  });
  return any ? nullptr : "groups are too small";
}

void run(ExecContext& exec, const SelectiveScanArgs& args) {
  if (sequences(args) == 0 || args.u.extent(2) == 0) return;
  with_layout(args, [&]<class T, class TimeDense>(std::type_identity<T>, TimeDense) {
    const Variant& v = *choose<T, TimeDense::value>(exec.device(), args);
    v.launch(make_params(args, TimeDense::value, v.warps * v.positions), v.warps, sequences(args),
             cuda::stream(exec));
  });
}

}  // namespace ophis::selective_scan_cuda
