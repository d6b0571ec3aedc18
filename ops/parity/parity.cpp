#include "ophis/ops/parity.hpp"

#include <array>

#include "ops/activation/activation_impl.hpp"
#include "ops/argmax/argmax_impl.hpp"
#include "ops/causal_conv1d/causal_conv1d_impl.hpp"
#include "ops/cross_entropy/cross_entropy_impl.hpp"
#include "ops/cumsum/cumsum_impl.hpp"
#include "ops/embedding/embedding_impl.hpp"
#include "ops/layer_norm/layer_norm_impl.hpp"
#include "ops/linear/linear_impl.hpp"
#include "ops/mask_positions/mask_positions_impl.hpp"
#include "ops/norm_linear/norm_linear_impl.hpp"
#include "ops/parity/problem.hpp"
#include "ops/quantized_linear/quantized_linear_impl.hpp"
#include "ops/rms_norm/rms_norm_impl.hpp"
#include "ops/sample/sample_impl.hpp"
#include "ops/selective_scan/selective_scan_impl.hpp"
#include "ops/softmax/softmax_impl.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"

namespace ophis {
namespace {

template <auto list_of_implementations>
std::vector<std::string> names() {
  std::vector<std::string> list;
  for (const auto& implementation : list_of_implementations()) list.emplace_back(implementation.name);
  return list;
}

struct Entry {
  const char* op;
  std::vector<std::string> (*implementations)();
  void (*check)(ExecContext&, const parity::Report&);
};

constexpr std::array entries{
    Entry{"activation", names<activation_impls>, parity::check_activation},
    Entry{"argmax", names<argmax_impls>, parity::check_argmax},
    Entry{"causal_conv1d", names<causal_conv1d_impls>, parity::check_causal_conv1d},
    Entry{"causal_conv1d_update", names<causal_conv1d_update_impls>, parity::check_causal_conv1d_update},
    Entry{"cross_entropy", names<cross_entropy_impls>, parity::check_cross_entropy},
    Entry{"cumsum", names<cumsum_impls>, parity::check_cumsum},
    Entry{"embedding", names<embedding_impls>, parity::check_embedding},
    Entry{"layer_norm", names<layer_norm_impls>, parity::check_layer_norm},
    Entry{"linear", names<linear_impls>, parity::check_linear},
    Entry{"mask_positions", names<mask_positions_impls>, parity::check_mask_positions},
    Entry{"norm_linear", names<norm_linear_impls>, parity::check_norm_linear},
    Entry{"quantized_linear", names<quantized_linear_impls>, parity::check_quantized_linear},
    Entry{"rms_norm", names<rms_norm_impls>, parity::check_rms_norm},
    Entry{"sample", names<sample_impls>, parity::check_sample},
    Entry{"selective_scan", names<selective_scan_impls>, parity::check_selective_scan},
    Entry{"selective_state_update", names<selective_state_update_impls>,
          parity::check_selective_state_update},
    Entry{"softmax", names<softmax_impls>, parity::check_softmax},
    Entry{"ssd_scan", names<ssd_scan_impls>, parity::check_ssd_scan},
    Entry{"ssd_state_update", names<ssd_state_update_impls>, parity::check_ssd_state_update},
};

const Entry& entry_of(std::string_view op) {
  for (const Entry& entry : entries) {
    if (op == entry.op) return entry;
  }
  fail(ErrorCode::invalid_argument, "there is no op '", op, "' with a parity check");
}

}  // namespace

std::vector<std::string> parity_ops() {
  std::vector<std::string> names;
  for (const Entry& entry : entries) names.emplace_back(entry.op);
  return names;
}

std::vector<std::string> implementation_names(std::string_view op) { return entry_of(op).implementations(); }

void check_parity(ExecContext& exec, std::string_view op,
                  const std::function<void(const ParityResult&)>& report) {
  entry_of(op).check(exec, report);
}

}  // namespace ophis
