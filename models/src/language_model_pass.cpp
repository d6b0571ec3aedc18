#include "models/src/language_model_pass.hpp"

#include <algorithm>
#include <numeric>

#include "models/src/projection.hpp"
#include "ophis/core/copy.hpp"
#include "ophis/core/indices.hpp"
#include "ophis/ops/activation.hpp"
#include "ophis/ops/cross_entropy.hpp"

namespace ophis {
namespace {

/// Rows whose logits are held at once while only their loss is wanted.
constexpr std::int64_t loss_rows = 128;
constexpr std::int64_t ignored_label = -100;

}  // namespace

LanguageModel::Pass::Pass(const LanguageModel& model, ExecContext& exec, const ForwardInput& input)
    : m_model(model), m_exec(exec), m_input(input) {
  OPHIS_REQUIRE(static_cast<bool>(input.input_ids) != static_cast<bool>(input.inputs_embeds),
                "forward: give either input_ids or inputs_embeds");
  const Tensor& given = input.input_ids ? input.input_ids : input.inputs_embeds;
  OPHIS_REQUIRE(given.rank() == (input.input_ids ? 2 : 3),
                "forward: input_ids must be (batch, seqlen), inputs_embeds ",
                "(batch, seqlen, d_model); got ", given);
  m_batch = given.extent(0);
  m_seqlen = given.extent(1);
  check();
  m_wanted = wanted_positions();
}

void LanguageModel::Pass::check() const {
  const Dims positions{m_batch, m_seqlen};
  OPHIS_REQUIRE(m_batch >= 1 && m_seqlen >= 1, "forward: there must be at least one position, got shape ",
                positions);
  OPHIS_REQUIRE(!m_input.inputs_embeds || (m_input.inputs_embeds.extent(2) == m_model.m_config.d_model &&
                                           is_compute_dtype(m_input.inputs_embeds.dtype())),
                "forward: inputs_embeds are ", m_input.inputs_embeds, ", but must be float (batch, seqlen, ",
                m_model.m_config.d_model, ")");
  OPHIS_REQUIRE(!m_input.attention_mask || m_input.attention_mask.shape() == positions,
                "forward: attention_mask is ", m_input.attention_mask, ", but must have shape ", positions);
  OPHIS_REQUIRE(
      !m_input.labels || (m_input.labels.shape() == positions && m_input.labels.dtype() == DType::int64),
      "forward: labels are ", m_input.labels, ", but must be int64 ", positions);
  // A GPU cannot report an id outside the vocabulary, so ids are looked at while they are here.
  if (m_input.input_ids)
    require_indices("forward: input_ids", m_input.input_ids, m_model.m_config.vocab_size);
  if (m_input.cache) m_model.require_own_kind(*m_input.cache);
  OPHIS_REQUIRE(m_input.cache == nullptr || m_input.cache->batch() == m_batch,
                "forward: the cache has batch ", m_input.cache ? m_input.cache->batch() : 0,
                ", but the input has ", m_batch);
}

std::vector<std::int64_t> LanguageModel::Pass::wanted_positions() const {
  const Tensor& given = m_input.logits_positions;
  std::vector<std::int64_t> wanted;
  if (given) {
    OPHIS_REQUIRE(m_input.logits_to_keep == 0, "forward: give either logits_to_keep or logits_positions");
    OPHIS_REQUIRE(given.rank() == 1 && given.dtype() == DType::int64 && given.is_contiguous() &&
                      given.count() > 0 && given.device() == Device::cpu(),
                  "forward: logits_positions are ", given, ", but must be contiguous int64 (kept)");
    wanted.assign(given.data<std::int64_t>(), given.data<std::int64_t>() + given.count());
    for (const std::int64_t position : wanted) {
      OPHIS_REQUIRE(position >= 0 && position < m_seqlen, "forward: logits_positions has ", position,
                    ", but there are ", m_seqlen, " positions");
    }
    return wanted;
  }
  const std::int64_t keep = m_input.logits_to_keep;
  OPHIS_REQUIRE(keep >= 0, "forward: logits_to_keep is ", keep, ", but must not be negative");
  wanted.resize(static_cast<std::size_t>(keep == 0 ? m_seqlen : std::min(keep, m_seqlen)));
  std::iota(wanted.begin(), wanted.end(), m_seqlen - static_cast<std::int64_t>(wanted.size()));
  return wanted;
}

void LanguageModel::Pass::normalise(const LanguageModelConfig& config, ExecContext& exec, const Layer& layer,
                                    const Tensor& x, const Tensor& residual, const Tensor& sum,
                                    const Tensor& out) {
  const auto fill = [&](auto args) {
    args.x = x;
    args.weight = layer.norm.tensor;
    args.bias = layer.norm_bias.tensor;
    args.residual = residual;
    args.eps = config.norm_epsilon;
    args.residual_out = sum;
    args.out = out;
    return args;
  };
  if (config.rms_norm)
    rms_norm(exec, fill(RmsNormArgs{}));
  else
    layer_norm(exec, fill(LayerNormArgs{}));
}

ForwardOutput LanguageModel::Pass::run() {
  const LanguageModelConfig& config = m_model.m_config;
  const Device device = m_exec.device();
  const Workspace::Scope scope(m_exec.workspace());
  m_input_ids = on_device(m_exec, m_input.input_ids);
  m_inputs_embeds = on_device(m_exec, m_input.inputs_embeds);
  m_attention_mask = on_device(m_exec, m_input.attention_mask);
  m_labels = on_device(m_exec, m_input.labels);
  if (m_labels) m_losses = m_exec.workspace().take_tensor(DType::float32, {m_batch, m_seqlen - 1});
  m_output.logits = OwnedTensor(
      DType::float32, {m_batch, static_cast<std::int64_t>(m_wanted.size()), config.vocab_size}, device);
  if (m_input.output_hidden_states) {
    const DType residual_dtype = config.residual_in_fp32 ? DType::float32 : m_model.m_dtype;
    for (std::int64_t i = 0; i <= config.n_layer; ++i) {
      m_output.hidden_states.emplace_back(i < config.n_layer ? residual_dtype : m_model.m_dtype,
                                          Dims{m_batch, m_seqlen, config.d_model}, device);
    }
  }
  const std::int64_t piece = std::max<std::int64_t>(1, max_positions_per_pass / m_batch);
  ModelCache* cache = m_input.cache;
  std::optional<ModelCache> own_cache;
  if (cache == nullptr && m_seqlen > piece) cache = &own_cache.emplace(m_model.make_cache(m_batch));
  for (std::int64_t begin = 0; begin < m_seqlen; begin += piece) {
    run_piece(begin, std::min(m_seqlen, begin + piece), cache);
  }
  if (cache) cache->m_seqlen += m_seqlen;
  m_exec.fence();
  if (m_input.labels) m_output.loss = mean_loss();
  return std::move(m_output);
}

Tensor LanguageModel::Pass::embed(std::int64_t begin, std::int64_t end) {
  const Tensor x =
      m_exec.workspace().take_tensor(m_model.m_dtype, {m_batch, end - begin, m_model.m_config.d_model});
  if (m_input_ids) {
    ophis::embed(m_exec, m_model.m_embedding, m_input_ids.slice(1, begin, end), x);
    return x;
  }
  // Rows of the given embeddings, gathered and converted by the same op.
  const std::int64_t count = end - begin;
  const OwnedTensor numbers(DType::int64, {count});
  std::iota(numbers->data<std::int64_t>(), numbers->data<std::int64_t>() + count, begin);
  const Tensor rows = on_device(m_exec, numbers);
  m_exec.fence();  // the numbers have left the host
  for (std::int64_t b = 0; b < m_batch; ++b) {
    embedding(m_exec, {rows, m_inputs_embeds.select(0, b), {}, {}, x.select(0, b)});
  }
  return x;
}

void LanguageModel::Pass::run_piece(std::int64_t begin, std::int64_t end, ModelCache* cache) {
  const Workspace::Scope scope(m_exec.workspace());
  const LanguageModelConfig& config = m_model.m_config;
  const Tensor x = embed(begin, end);
  const Tensor normed = m_exec.workspace().take_tensor(m_model.m_dtype, x.shape());
  const Tensor residual =
      m_exec.workspace().take_tensor(config.residual_in_fp32 ? DType::float32 : m_model.m_dtype, x.shape());
  const Tensor mask = m_attention_mask ? m_attention_mask.slice(1, begin, end) : Tensor();
  const bool keep_hidden = m_input.output_hidden_states;
  const auto hidden = [&](std::size_t i) { return m_output.hidden_states[i]->slice(1, begin, end); };
  const auto n_layer = static_cast<std::size_t>(config.n_layer);
  const auto residual_of = [&](std::size_t i) {
    if (keep_hidden && i > 0) return hidden(i - 1);
    return i < n_layer ? residual : Tensor();
  };
  run_layers(m_model, m_exec, x, x, normed, residual_of, [&](std::size_t i, const Tensor& out) {
    m_model.m_layers[i].block->forward(m_exec, normed, out, cache ? &cache->m_layers[i] : nullptr, mask);
  });
  if (keep_hidden) activation(m_exec, {normed, Activation::identity, hidden(n_layer)});
  add_logits(normed, begin, end);
  if (m_input.labels) add_losses(normed, begin, end);
}

void LanguageModel::Pass::add_logits(const Tensor& normed, std::int64_t begin, std::int64_t end) {
  const Tensor& logits = m_output.logits;
  for (std::size_t first = 0; first < m_wanted.size();) {
    // A run of neighbouring positions inside this piece.
    std::size_t last = first;
    const auto inside = [&](std::size_t i) { return m_wanted[i] >= begin && m_wanted[i] < end; };
    while (last < m_wanted.size() && inside(last) &&
           m_wanted[last] == m_wanted[first] + static_cast<std::int64_t>(last - first)) {
      ++last;
    }
    if (last == first) {
      ++first;
      continue;
    }
    const auto count = static_cast<std::int64_t>(last - first);
    const std::int64_t at = m_wanted[first] - begin;
    const Tensor out = logits.slice(1, static_cast<std::int64_t>(first), static_cast<std::int64_t>(last));
    project(m_exec, normed.slice(1, at, at + count), m_model.m_head, {}, out);
    first = last;
  }
}

void LanguageModel::Pass::add_losses(const Tensor& normed, std::int64_t begin, std::int64_t end) {
  const Workspace::Scope scope(m_exec.workspace());
  const std::int64_t last = std::min(end, m_seqlen - 1);  // the last position has no label after it
  const Tensor logits =
      m_exec.workspace().take_tensor(DType::float32, {loss_rows, m_model.m_config.vocab_size});
  for (std::int64_t b = 0; b < m_batch; ++b) {
    for (std::int64_t l = begin; l < last; l += loss_rows) {
      const std::int64_t count = std::min(loss_rows, last - l);
      const Tensor some_logits = logits.slice(0, 0, count);
      project(m_exec, normed.select(0, b).slice(0, l - begin, l - begin + count), m_model.m_head, {},
              some_logits);
      cross_entropy(m_exec, {some_logits, m_labels.select(0, b).slice(0, l + 1, l + 1 + count), ignored_label,
                             m_losses.select(0, b).slice(0, l, l + count)});
    }
  }
}

double LanguageModel::Pass::mean_loss() const {
  const OwnedTensor losses = copy_to(m_exec, m_losses, Device::cpu());
  OwnedTensor copied_labels;
  const bool labels_here = m_input.labels.device() == Device::cpu();
  if (!labels_here) copied_labels = copy_to(m_exec, m_input.labels, Device::cpu());
  const Tensor& labels = labels_here ? m_input.labels : copied_labels.view();
  double sum = 0.0;
  std::int64_t count = 0;
  for (std::int64_t b = 0; b < m_batch; ++b) {
    for (std::int64_t l = 0; l + 1 < m_seqlen; ++l) {
      const Tensor label = labels.select(0, b).select(0, l + 1);
      if (*label.data<std::int64_t>() == ignored_label) continue;
      sum += static_cast<double>(*losses->select(0, b).select(0, l).data<float>());
      ++count;
    }
  }
  return sum / static_cast<double>(count);
}

}  // namespace ophis
