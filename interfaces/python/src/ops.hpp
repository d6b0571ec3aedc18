// The functions that put the ops into the module, each in ops/<op>.cpp.
#pragma once

#include <nanobind/nanobind.h>

namespace ophis::python {

void bind_activation(nanobind::module_& module);
void bind_argmax(nanobind::module_& module);
void bind_causal_conv1d(nanobind::module_& module);
void bind_cross_entropy(nanobind::module_& module);
void bind_cumsum(nanobind::module_& module);
void bind_embedding(nanobind::module_& module);
void bind_layer_norm(nanobind::module_& module);
void bind_linear(nanobind::module_& module);
void bind_mask_positions(nanobind::module_& module);
void bind_norm_linear(nanobind::module_& module);
void bind_quantized_linear(nanobind::module_& module);
void bind_rms_norm(nanobind::module_& module);
void bind_sample(nanobind::module_& module);
void bind_selective_scan(nanobind::module_& module);
void bind_softmax(nanobind::module_& module);
void bind_ssd_scan(nanobind::module_& module);

}  // namespace ophis::python
