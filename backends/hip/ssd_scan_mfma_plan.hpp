// Which arguments the kernel of ssd_scan_mfma takes, and how: for the launch, and for the model on the CPU.
#pragma once

#include "backends/hip/ssd_scan_mfma_kernel.hpp"
#include "ophis/ops/ssd_scan.hpp"
#include "ops/common/dense.hpp"

namespace ophis::ssd_scan_mfma {

inline const char* why_not_arguments(const SsdScanArgs& args) {
  if (args.x.dtype() == DType::float32) return "takes bfloat16 and float16";
  if (args.seq_idx) return "takes no seq_idx";
  if (args.x.count() == 0) return "takes no empty tensors";
  if (args.x.extent(3) != 64 && args.x.extent(3) != 128) return "takes headdim 64 and 128";
  if (args.B.extent(3) != 64 && args.B.extent(3) != 128) return "takes dstate 64 and 128";
  const std::int64_t sequences = args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.x.extent(0);
  if (sequences * args.x.extent(2) >= std::int64_t{1} << 31) return "takes up to 2^31 heads";
  if (!has_aligned_rows(args.x, 8) || !has_aligned_rows(args.B, 8) || !has_aligned_rows(args.C, 8))
    return "takes x, B and C with a dense last axis and all else aligned to 8 bytes";
  return nullptr;
}

/// Calls f(kernel, blocks) with the Scan for the arguments, made with memory of the workspace. A head of 128
/// has waves of 32 columns, one of 64 waves of 16: four waves either way.
template <class F>
void dispatch_kernel(ExecContext& exec, const SsdScanArgs& args, const F& f) {
  const auto with_dtype = [&]<class T>(std::type_identity<T>) {
    const std::int64_t nheads = args.x.extent(2);
    const std::int64_t sequences = args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.x.extent(0);
    const Arguments<T> arguments{Strided<T, 4>(args.x),
                                 Strided<T, 4>(args.B),
                                 Strided<T, 4>(args.C),
                                 Strided<T, 4>(args.z),
                                 Strided<T, 4>(args.out),
                                 Strided<T, 3>(args.dt),
                                 Strided<float, 4>(args.initial_states),
                                 Strided<float, 4>(args.final_states),
                                 SequenceMap(args.cu_seqlens, args.x.extent(1)),
                                 ssd_scan_kokkos::make_time_step(exec, args),
                                 ssd_scan_kokkos::make_skip(exec, args),
                                 as_dense_float32(exec, args.A).template data<float>(),
                                 nheads,
                                 nheads / args.B.extent(2)};
    const auto call = [&]<class I, int headdim>(std::integral_constant<int, headdim>, std::type_identity<I>) {
      if (args.B.extent(3) == 64)
        f(Scan<I, T, headdim, 64>{arguments}, sequences * nheads);
      else
        f(Scan<I, T, headdim, 128>{arguments}, sequences * nheads);
    };
    if (args.x.extent(3) == 64)
      call(std::integral_constant<int, 64>{}, std::type_identity<Mfma16x16x16>{});
    else
      call(std::integral_constant<int, 128>{}, std::type_identity<Mfma32x32x8>{});
  };
  if (args.x.dtype() == DType::bfloat16)
    with_dtype(std::type_identity<bfloat16>{});
  else
    with_dtype(std::type_identity<float16>{});
}

}  // namespace ophis::ssd_scan_mfma
