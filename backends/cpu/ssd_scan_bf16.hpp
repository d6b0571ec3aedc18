// ssd_scan with AVX-512 BF16. As on tensor cores, what is multiplied is rounded to bfloat16: the weights of
// inputs, and the state, which is itself kept in float32.
#pragma once

#include "ophis/core/exec_context.hpp"
#include "ophis/ops/ssd_scan.hpp"

namespace ophis::ssd_scan_bf16 {

inline const char* why_not(Device device, const SsdScanArgs& args) {
  if (device.type != DeviceType::cpu) return "it runs on the cpu only";
  if (args.x.dtype() != DType::bfloat16) return "it multiplies bfloat16";
  return nullptr;
}

void run(ExecContext& exec, const SsdScanArgs& args);

}  // namespace ophis::ssd_scan_bf16
