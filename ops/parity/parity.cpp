#include "ophis/ops/parity.hpp"

#include <array>

#include "ops/parity/problem.hpp"

namespace ophis {
namespace {

struct Entry {
  const char* op;
  void (*check)(ExecContext&, const parity::Report&);
};

constexpr std::array entries{
    Entry{"activation", parity::check_activation},
    Entry{"argmax", parity::check_argmax},
    Entry{"causal_conv1d", parity::check_causal_conv1d},
    Entry{"causal_conv1d_update", parity::check_causal_conv1d_update},
    Entry{"cross_entropy", parity::check_cross_entropy},
    Entry{"cumsum", parity::check_cumsum},
    Entry{"embedding", parity::check_embedding},
    Entry{"layer_norm", parity::check_layer_norm},
    Entry{"linear", parity::check_linear},
    Entry{"mask_positions", parity::check_mask_positions},
    Entry{"rms_norm", parity::check_rms_norm},
    Entry{"selective_scan", parity::check_selective_scan},
    Entry{"selective_state_update", parity::check_selective_state_update},
    Entry{"softmax", parity::check_softmax},
    Entry{"ssd_scan", parity::check_ssd_scan},
    Entry{"ssd_state_update", parity::check_ssd_state_update},
};

}  // namespace

std::vector<std::string> parity_ops() {
  std::vector<std::string> names;
  for (const Entry& entry : entries) names.emplace_back(entry.op);
  return names;
}

void check_parity(ExecContext& exec, std::string_view op,
                  const std::function<void(const ParityResult&)>& report) {
  for (const Entry& entry : entries) {
    if (op == entry.op) return entry.check(exec, report);
  }
  fail(ErrorCode::invalid_argument, "there is no op '", op, "' with a parity check");
}

}  // namespace ophis
