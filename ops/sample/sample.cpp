#include "ophis/ops/sample.hpp"

#include <cmath>

#include "ops/common/check.hpp"
#include "ops/sample/sample_impl.hpp"

namespace ophis {
namespace {

/// Checks a setting (batch); its values only where the CPU can read them.
class SettingChecker {
 public:
  SettingChecker(const ArgumentChecker& check, ExecContext& exec, std::int64_t batch)
      : m_check(check), m_reads(exec.device().type == DeviceType::cpu), m_batch(batch) {}

  template <class T, class Takes>
  void operator()(const char* name, const Tensor& tensor, const char* wanted, Takes takes) const {
    m_check.activation(name, tensor, {m_batch}, dtype_of<T>);
    if (!tensor || !m_reads) return;
    for (std::int64_t i = 0; i < m_batch; ++i) {
      const T value = tensor.data<T>()[i * tensor.stride(0)];
      OPHIS_REQUIRE(takes(value), m_check.op(), ": ", name, " holds ", value, " at ", i, ", but must be ",
                    wanted);
    }
  }

 private:
  const ArgumentChecker& m_check;
  bool m_reads;
  std::int64_t m_batch;
};

}  // namespace

void sample(ExecContext& exec, const SampleArgs& args) {
  const ArgumentChecker check("sample", exec);
  check.given("logits", args.logits);
  check.given("out", args.out);
  check.rank("logits", args.logits, 2);
  check.rows("logits", args.logits);
  check.activation("logits", args.logits, args.logits.shape(), args.logits.dtype());
  const std::int64_t batch = args.logits.extent(0), vocab = args.logits.extent(1);
  constexpr std::int64_t largest_vocab = std::int64_t{1} << 22;  // whose probabilities can be summed
  OPHIS_REQUIRE(vocab <= largest_vocab, "sample: logits has ", vocab, " columns, but may have at most ",
                largest_vocab);

  const SettingChecker setting(check, exec, batch);
  const auto finite = [](float x) { return std::isfinite(x); };
  setting.operator()<float>("temperature", args.temperature, "finite and not negative",
                            [](float x) { return std::isfinite(x) && x >= 0.0f; });
  setting.operator()<std::int64_t>("top_k", args.top_k, "at least 0", [](std::int64_t k) { return k >= 0; });
  setting.operator()<float>("top_p", args.top_p, "above 0 and at most 1",
                            [](float p) { return p > 0.0f && p <= 1.0f; });
  setting.operator()<float>("min_p", args.min_p, "from 0 to 1",
                            [](float p) { return p >= 0.0f && p <= 1.0f; });
  setting.operator()<float>("repetition_penalty", args.repetition_penalty, "finite and above 0",
                            [](float x) { return std::isfinite(x) && x > 0.0f; });
  setting.operator()<float>("presence_penalty", args.presence_penalty, "finite", finite);
  setting.operator()<float>("frequency_penalty", args.frequency_penalty, "finite", finite);
  for (const auto& [name, tensor] : {std::pair{"seed", args.seed},
                                     {"sequence", args.sequence},
                                     {"position", args.position},
                                     {"out", args.out}}) {
    check.activation(name, tensor, {batch}, DType::int64);
  }
  check.activation("prompt_counts", args.prompt_counts, args.logits.shape(), DType::int32);
  check.activation("counts", args.counts, args.logits.shape(), DType::int32);
  OPHIS_REQUIRE(!args.repetition_penalty || args.prompt_counts || args.counts,
                "sample: repetition_penalty needs prompt_counts or counts");
  OPHIS_REQUIRE((!args.presence_penalty && !args.frequency_penalty) || args.counts,
                "sample: presence_penalty and frequency_penalty need counts");
  dispatch("sample", sample_impls(), exec, args);
}

}  // namespace ophis
