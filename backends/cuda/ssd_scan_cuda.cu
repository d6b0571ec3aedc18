#include "backends/cuda/ssd_scan_cuda.hpp"

#include <algorithm>

#include "backends/cuda/ssd_scan_plan.hpp"
#include "ophis/core/cuda.hpp"
#include "ops/common/dense.hpp"

namespace ophis::ssd_scan_cuda {
namespace {

const char* why_not(Device device, const SsdScanArgs& args) {
  if (device.type != DeviceType::cuda) return "runs on CUDA devices";
  if (args.x.dtype() == DType::float32) return "takes bfloat16 and float16";
  if (args.cu_seqlens || args.seq_idx) return "takes one sequence a row";
  if (args.x.count() == 0) return "takes no empty tensors";
  if (args.x.extent(1) > (std::int64_t{1} << 30)) return "takes up to 2^30 positions";
  if (args.x.extent(0) > 65535) return "takes up to 65535 sequences";
  if (args.x.extent(3) % panel != 0) return "takes headdims that are multiples of 64";
  if (args.B.extent(3) != 64 && args.B.extent(3) != 128) return "takes dstate 64 and 128";
  if (!(args.dt_min >= 0.0)) return "takes no negative dt_min";
  if (!has_aligned_rows(args.x, 16) || !has_aligned_rows(args.B, 16) || !has_aligned_rows(args.C, 16) ||
      !has_aligned_rows(args.z, 16) || !has_aligned_rows(args.out, 16)) {
    return "takes x, B, C, z and out with a dense last axis and all else aligned to 16 bytes";
  }
  if (!has_aligned_rows(args.initial_states, 8) || !has_aligned_rows(args.final_states, 8))
    return "takes states with a dense last axis and all else aligned to 8 bytes";
  return nullptr;
}

Rows rows(const Tensor& tensor) {
  if (!tensor) return {};
  return {tensor.stride(0), tensor.stride(1), tensor.stride(2)};
}

Parameter parameter(const Tensor& tensor) {
  if (!tensor) return {nullptr, DType::float32, 0, 0};
  return {tensor.raw(), tensor.dtype(), tensor.stride(0), tensor.rank() == 2 ? tensor.stride(1) : 0};
}

States states(const Tensor& tensor) {
  if (!tensor) return {};
  return {tensor.data<float>(), tensor.stride(0), tensor.stride(1), tensor.stride(2)};
}

/// Long sequences with few heads are cut into segments so that all multiprocessors have work; this costs a
/// second pass over x and B. The choice does not look at the batch, so that no sequence's bits depend on it.
int choose_segments(std::int64_t chunks, int panels, int multiprocessors) {
  constexpr std::int64_t least_chunks = 64;
  const std::int64_t wanted = (2 * multiprocessors + panels - 1) / panels;
  return static_cast<int>(std::clamp<std::int64_t>(chunks / least_chunks, 1, wanted));
}

/// The arguments as a plan, with memory from the workspace. Up to `panels_alone` panels have a block to
/// themselves, others share one by two.
Plan make_plan(const SsdScanArgs& args, Launch& launch, int panels_alone, bool with_products) {
  Plan plan{};
  plan.x = args.x.raw(), plan.x_rows = rows(args.x);
  plan.B = args.B.raw(), plan.B_rows = rows(args.B);
  plan.C = args.C.raw(), plan.C_rows = rows(args.C);
  plan.dt = args.dt.raw(), plan.dt_rows = rows(args.dt);
  plan.z = args.z ? args.z.raw() : nullptr, plan.z_rows = rows(args.z);
  plan.out = args.out.raw(), plan.out_rows = rows(args.out);
  plan.A = parameter(args.A), plan.D = parameter(args.D), plan.dt_bias = parameter(args.dt_bias);
  plan.dt_min = static_cast<float>(args.dt_min), plan.dt_max = static_cast<float>(args.dt_max);
  plan.dt_softplus = args.dt_softplus;
  plan.initial_states = states(args.initial_states), plan.final_states = states(args.final_states);
  plan.batch = static_cast<int>(args.x.extent(0));
  plan.seqlen = args.x.extent(1);
  plan.nheads = static_cast<int>(args.x.extent(2));
  plan.ngroups = static_cast<int>(args.B.extent(2));
  plan.panels_per_head = static_cast<int>(args.x.extent(3)) / panel;

  const int panels = plan.nheads * plan.panels_per_head;
  const std::int64_t chunks = (plan.seqlen + chunk - 1) / chunk;
  plan.segments = choose_segments(chunks, panels, launch.multiprocessors);
  plan.segment_chunks = static_cast<int>((chunks + plan.segments - 1) / plan.segments);
  const std::int64_t rows = static_cast<std::int64_t>(plan.batch) * plan.segments;
  launch.heads = rows * panels <= panels_alone ? 1 : 2;

  Workspace& workspace = launch.exec.workspace();
  const std::int64_t state = panel * args.B.extent(3);
  if (with_products)
    plan.products = workspace.take<float>(rows * plan.segment_chunks * plan.ngroups * product_count);
  if (plan.segments > 1) {
    plan.segment_states = workspace.take<float>(rows * panels * state);
    plan.segment_decays = workspace.take<float>(rows * panels);
  }
  const int slots = launch.multiprocessors * launch.heads;
  plan.handoff = workspace.take<float>(slots * (state + handoff_extra));
  plan.ready = workspace.take<std::int32_t>(2 * slots);
  return plan;
}

/// The map of (batch, seqlen, heads, elements) in boxes of 64 positions by 64 elements, as a Tile holds them.
CUtensorMap encode(const Tensor& tensor) {
  static const auto encode_tiled = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    cuda::check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                 cudaEnableDefault, &result),
                "ssd_scan: look-up of cuTensorMapEncodeTiled");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  const auto extent = [&](int axis) { return static_cast<cuuint64_t>(tensor.extent(axis)); };
  // The stride of an axis of one element may be anything, but the map wants multiples of 16 bytes.
  const auto stride = [&](int axis) {
    return static_cast<cuuint64_t>(tensor.extent(axis) == 1 ? 8 : tensor.stride(axis)) * 2;
  };
  const cuuint64_t extents[] = {extent(3), extent(2), extent(1), extent(0)};
  const cuuint64_t strides[] = {stride(2), stride(1), stride(0)};
  const cuuint32_t box[] = {panel, 1, chunk, 1}, steps[] = {1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result = encode_tiled(
      &map,
      tensor.dtype() == DType::bfloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
      4, tensor.raw(), extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) fail(ErrorCode::internal, "ssd_scan: cuTensorMapEncodeTiled gives ", result);
  return map;
}

template <class F>
void dispatch_half(DType dtype, F&& f) {
  dtype == DType::bfloat16 ? f(std::type_identity<bfloat16>{}) : f(std::type_identity<float16>{});
}

}  // namespace

const char* why_not_sm90(Device device, const SsdScanArgs& args) {
  if (const char* reason = why_not(device, args)) return reason;
  return cuda::properties(device).compute_capability == 90 ? nullptr : "needs compute capability 9.0";
}

void run_sm90(ExecContext& exec, const SsdScanArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  Launch launch{exec, cuda::properties(exec.device()).multiprocessors};
  const Plan plan = make_plan(args, launch, launch.multiprocessors * 3 / 2, false);
  const TensorMaps maps{encode(args.x), encode(args.B), encode(args.C), encode(args.out)};
  const int dstate = static_cast<int>(args.B.extent(3));
  dispatch_half(args.x.dtype(),
                [&]<class T>(std::type_identity<T>) { scan_sm90<T>(plan, maps, launch, dstate); });
}

const char* why_not_sm80(Device device, const SsdScanArgs& args) {
  if (const char* reason = why_not(device, args)) return reason;
  const cuda::DeviceProperties& properties = cuda::properties(device);
  if (properties.compute_capability < 80) return "needs compute capability 8.0";
  return properties.shared_memory_per_block >= shared_memory_sm80() ? nullptr : "needs more shared memory";
}

void run_sm80(ExecContext& exec, const SsdScanArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  Launch launch{exec, cuda::properties(exec.device()).multiprocessors};
  const Plan plan = make_plan(args, launch, launch.multiprocessors, true);
  const int dstate = static_cast<int>(args.B.extent(3));
  dispatch_half(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    multiply_C_B<T>(plan, exec, dstate);
    scan_sm80<T>(plan, launch, dstate);
  });
}

}  // namespace ophis::ssd_scan_cuda
