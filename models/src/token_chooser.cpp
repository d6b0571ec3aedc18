#include "models/src/token_chooser.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ophis/core/copy.hpp"
#include "ophis/ops/argmax.hpp"

namespace ophis {
namespace {

/// Takes it or throws.
template <class T>
void require_option(const char* name, T value, bool is_fine, const char* wanted) {
  OPHIS_REQUIRE(is_fine, "generate: ", name, " is ", value, ", but must be ", wanted);
}

/// Whether a float holds it, as a number.
bool is_float(double value) {
  return std::fabs(value) <= static_cast<double>(std::numeric_limits<float>::max());
}

/// The smallest positive number stays positive when rounded to float.
float to_positive_float(double value) {
  return std::max(static_cast<float>(value), std::numeric_limits<float>::min());
}

}  // namespace

void check_sampling(const SamplingOptions& o) {
  require_option("temperature", o.temperature, is_float(o.temperature) && o.temperature >= 0.0,
                 "a number from 0 (greedy)");
  require_option("top_k", o.top_k, o.top_k >= 0, "at least 1, or 0 to keep all tokens");
  require_option("top_p", o.top_p, o.top_p > 0.0 && o.top_p <= 1.0,
                 "above 0 and at most 1, which keeps all tokens");
  require_option("min_p", o.min_p, o.min_p >= 0.0 && o.min_p <= 1.0, "from 0, which keeps all tokens, to 1");
  require_option("repetition_penalty", o.repetition_penalty,
                 is_float(o.repetition_penalty) && o.repetition_penalty > 0.0, "above 0; 1 is none");
  require_option("presence_penalty", o.presence_penalty, is_float(o.presence_penalty), "a number; 0 is none");
  require_option("frequency_penalty", o.frequency_penalty, is_float(o.frequency_penalty),
                 "a number; 0 is none");
}

TokenChooser::TokenChooser(ExecContext& exec, const SamplingOptions& options, std::int64_t vocab,
                           std::span<const ChooserInput> sequences)
    : m_is_argmax(options.temperature == 0.0 && options.repetition_penalty == 1.0 &&
                  options.presence_penalty == 0.0 && options.frequency_penalty == 0.0) {
  if (m_is_argmax) return;
  const auto batch = static_cast<std::int64_t>(sequences.size());
  const auto upload = [&](Tensor& to, const OwnedTensor& values) {
    m_memory.push_back(copy_to(exec, values, exec.device()));
    to = m_memory.back();
  };
  const auto upload_setting = [&](Tensor& to, float value) {
    const OwnedTensor values(DType::float32, {batch});
    std::fill_n(values->data<float>(), batch, value);
    upload(to, values);
  };
  const auto upload_integers = [&](Tensor& to, auto value_of) {
    const OwnedTensor values(DType::int64, {batch});
    std::transform(sequences.begin(), sequences.end(), values->data<std::int64_t>(), value_of);
    upload(to, values);
  };
  const bool samples = options.temperature > 0.0;
  upload_setting(m_args.temperature, samples ? to_positive_float(options.temperature) : 0.0f);
  if (samples && options.top_k > 0) {
    upload_integers(m_args.top_k, [&](const ChooserInput&) { return options.top_k; });
  }
  if (samples && options.top_p < 1.0) upload_setting(m_args.top_p, to_positive_float(options.top_p));
  if (samples && options.min_p > 0.0) upload_setting(m_args.min_p, static_cast<float>(options.min_p));
  upload_integers(m_args.seed, [&](const ChooserInput&) { return static_cast<std::int64_t>(options.seed); });
  upload_integers(m_args.sequence, [](const ChooserInput& input) { return input.sequence; });
  upload_integers(m_args.position, [](const ChooserInput& input) { return input.position; });

  const bool repetition = options.repetition_penalty != 1.0;
  const bool presence = options.presence_penalty != 0.0, frequency = options.frequency_penalty != 0.0;
  if (repetition || presence || frequency) {
    m_memory.emplace_back(DType::int32, Dims{batch, vocab}, exec.device());
    m_args.counts = m_memory.back();
    fill_with_zeros(exec, m_args.counts);
  }
  if (repetition) {
    upload_setting(m_args.repetition_penalty, to_positive_float(options.repetition_penalty));
    const OwnedTensor counts(DType::int32, {batch, vocab});
    std::int32_t* row = counts->data<std::int32_t>();
    std::fill_n(row, counts->count(), 0);
    for (const ChooserInput& input : sequences) {
      for (const TokenIds& ids : input.known) {
        for (const std::int32_t id : ids) ++row[id];
      }
      row += vocab;
    }
    upload(m_args.prompt_counts, counts);
  }
  if (presence) upload_setting(m_args.presence_penalty, static_cast<float>(options.presence_penalty));
  if (frequency) upload_setting(m_args.frequency_penalty, static_cast<float>(options.frequency_penalty));
}

void TokenChooser::choose(ExecContext& exec, const Tensor& logits, const Tensor& next) const {
  if (m_is_argmax) return argmax(exec, {logits, next});
  SampleArgs args = m_args;
  args.logits = logits;
  args.out = next;
  sample(exec, args);
}

}  // namespace ophis
