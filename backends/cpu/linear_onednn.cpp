// oneDNN's matmul. It keeps its own cache of compiled primitives, keyed by shape.
#include <array>
#include <unordered_map>

#include "backends/cpu/linear_cpu.hpp"
#include "dnnl.hpp"
#include "ops/common/dense.hpp"

namespace ophis::linear_cpu {
namespace {

using dnnl::memory;

memory::data_type onednn_dtype(DType dtype) {
  return dtype == DType::bfloat16 ? memory::data_type::bf16 : memory::data_type::f32;
}

/// oneDNN looks at the CPU by itself; OPHIS_CPU_ISA holds for it, too.
dnnl::engine make_engine() {
  constexpr std::array limits{dnnl::cpu_isa::sse41, dnnl::cpu_isa::avx2, dnnl::cpu_isa::avx512_core,
                              dnnl::cpu_isa::avx512_core_vnni, dnnl::cpu_isa::all};
  const dnnl::cpu_isa limit = limits.at(static_cast<std::size_t>(cpu_isa()));
  static const bool limited = dnnl::set_max_cpu_isa(limit) == dnnl::status::success;
  OPHIS_REQUIRE(limited || limit == dnnl::cpu_isa::all,
                "linear: oneDNN does not take the limit of OPHIS_CPU_ISA once it has been used");
  return {dnnl::engine::kind::cpu, 0};
}

struct Engine {
  dnnl::engine engine = make_engine();
  dnnl::stream stream{engine};
};

}  // namespace

const char* why_not_onednn(Device device, const LinearArgs& args) {
  if (device.type != DeviceType::cpu) return "it runs on the cpu only";
  if (args.x.dtype() == DType::float16) return "oneDNN has no float16 on the cpu";
  if (args.x.dtype() == DType::bfloat16 && cpu_isa() < CpuIsa::avx512)
    return "oneDNN multiplies bfloat16 with AVX-512";
  if (linear_shape(args).rows <= linear_few_rows) return "few rows: bound by reading the weight";
  return nullptr;
}

void run_onednn(ExecContext& exec, const LinearArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const Tensor bias = as_dense_float32(exec, args.bias);
  const LinearShape shape = linear_shape(args);
  const memory::data_type type = onednn_dtype(args.x.dtype());
  const memory::desc x_desc({shape.rows, shape.in_features}, type, memory::dims{shape.ldx, 1});
  const memory::desc w_desc({shape.in_features, shape.out_features}, type, memory::dims{1, shape.ldw});
  const memory::desc out_desc({shape.rows, shape.out_features}, onednn_dtype(args.out.dtype()),
                              memory::dims{shape.ldout, 1});
  const memory::desc bias_desc = bias ? memory::desc({1, shape.out_features}, memory::data_type::f32,
                                                     memory::dims{shape.out_features, 1})
                                      : memory::desc();
  try {
    thread_local Engine on;
    dnnl::post_ops after;
    if (args.accumulate) after.append_sum();
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(after);
    const dnnl::matmul product(dnnl::matmul::primitive_desc(
        dnnl::matmul::desc(x_desc, w_desc, bias_desc, out_desc), attributes, on.engine));
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, memory(x_desc, on.engine, args.x.raw())},
        {DNNL_ARG_WEIGHTS, memory(w_desc, on.engine, args.weight.raw())},
        {DNNL_ARG_DST, memory(out_desc, on.engine, args.out.raw())}};
    if (bias) arguments.emplace(DNNL_ARG_BIAS, memory(bias_desc, on.engine, bias.raw()));
    product.execute(on.stream, arguments);
    on.stream.wait();
  } catch (const dnnl::error& error) {
    fail(ErrorCode::internal, "linear: oneDNN: ", error.what());
  }
}

}  // namespace ophis::linear_cpu
