#include "ophis/models/language_model.hpp"

#include <cmath>
#include <deque>
#include <future>

#include "models/src/checkpoint_parameters.hpp"
#include "models/src/initialization.hpp"
#include "models/src/language_model_pass.hpp"
#include "models/src/projection.hpp"
#include "ophis/core/copy.hpp"
#include "ophis/ops/norm_linear.hpp"

namespace ophis {
namespace {

std::unique_ptr<Block> make_block(const LanguageModelConfig& config, const ParameterSource& source,
                                  DType dtype) {
  if (const auto* const mamba = std::get_if<MambaConfig>(&config.mixer)) {
    return std::make_unique<Mamba>(*mamba, source, dtype);
  }
  return std::make_unique<Mamba2>(std::get<Mamba2Config>(config.mixer), source, dtype, config.norm_epsilon);
}

/// The first of these layers that the source has a weight of, or the first.
std::string existing_layer(const ParameterSource& source, std::initializer_list<const char*> names) {
  for (std::string name : names) {
    if (source.find(name + ".weight_packed") || source.find(name + ".weight")) return name;
  }
  return *names.begin();
}

}  // namespace

std::size_t ModelCache::bytes() const noexcept {
  std::size_t total = 0;
  for (const BlockState& state : m_layers) total += state.conv_memory->bytes() + state.ssm->bytes();
  return total;
}

void ModelCache::reset(ExecContext& exec) {
  for (BlockState& state : m_layers) state.reset(exec);
  m_seqlen = 0;
}

void ModelCache::copy_from(ExecContext& exec, const ModelCache& other) {
  OPHIS_REQUIRE(other.layers() == layers() && other.batch() == m_batch, "a cache of ", layers(),
                " layers and batch ", m_batch, " cannot take over one of ", other.layers(), " and batch ",
                other.batch());
  for (std::size_t i = 0; i < m_layers.size(); ++i) {
    copy(exec, other.m_layers[i].conv_memory, m_layers[i].conv_memory);
    copy(exec, other.m_layers[i].ssm, m_layers[i].ssm);
  }
  m_seqlen = other.m_seqlen;
}

void ModelCache::gather_from(ExecContext& exec, const ModelCache& other, std::span<const std::int64_t> rows) {
  OPHIS_REQUIRE(other.layers() == layers() && static_cast<std::int64_t>(rows.size()) == m_batch,
                "a cache of ", layers(), " layers and batch ", m_batch, " cannot gather ", rows.size(),
                " rows of one of ", other.layers(), " layers");
  for (const std::int64_t row : rows) {
    OPHIS_REQUIRE(row >= 0 && row < other.m_batch, "there is no row ", row, " in a cache of batch ",
                  other.m_batch);
  }
  for (std::size_t layer = 0; layer < m_layers.size(); ++layer) {
    const auto gather = [&](const Tensor& from, const Tensor& to) {
      for (std::int64_t i = 0; i < m_batch; ++i) {
        copy(exec, from.select(0, rows[static_cast<std::size_t>(i)]), to.select(0, i));
      }
    };
    gather(other.m_layers[layer].conv_memory, m_layers[layer].conv_memory);
    gather(other.m_layers[layer].ssm, m_layers[layer].ssm);
  }
  m_seqlen = other.m_seqlen;
}

LanguageModel LanguageModel::load(const std::filesystem::path& folder, const LoadOptions& options) {
  const LanguageModelConfig config = load_model_config(folder);
  const DType dtype = options.dtype.value_or(config.dtype);
  const auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(folder));
  // What is not used where it is mapped should not take memory beside what is made of it.
  const bool goes_elsewhere = options.device.type != DeviceType::cpu;
  if (options.progress) checkpoint->prefetch(options.progress, goes_elsewhere);
  Placement placement(options.device);
  // A model that fills memory is better off with pages that the system can drop.
  if (checkpoint->total_bytes() < host_memory() / 2) placement.use_huge_pages();
  ParameterSource source(parameters_of(checkpoint).find, placement);
  source.set_quantization(options.quantization ? options.quantization : config.quantize_on_load);
  try {
    return from_parameters(config, source, dtype);
  } catch (const Error& error) {
    fail(error.code(), folder.string(), ": ", error.what());
  }
}

LanguageModel LanguageModel::from_parameters(const LanguageModelConfig& config, const ParameterSource& source,
                                             DType dtype) {
  OPHIS_REQUIRE(is_compute_dtype(dtype), "a model cannot compute in ", dtype,
                "; choose float32, bfloat16 or float16");
  LanguageModel model(config, dtype, source.placement().device());
  const std::string embedding =
      existing_layer(source, {"backbone.embeddings", "backbone.embedding", "model.embedding"});
  const std::string prefix = embedding.substr(0, embedding.find('.') + 1);
  const Dims shape{config.vocab_size, config.d_model};
  if (config.tie_embeddings) {
    const Weight table = require_table(source, embedding, shape, dtype);
    model.set_embedding(table, table);
  } else {
    // An embedding that is no head is read a row at a time: nothing is gained by quantizing it.
    ParameterSource dense = source;
    dense.set_quantization({});
    model.set_embedding(require_table(dense, embedding, shape, dtype),
                        require_table(source, "lm_head", shape, dtype));
  }
  for (std::int64_t i = 0; i < config.n_layer; ++i) {
    const ParameterSource layer = source.under(prefix + "layers." + std::to_string(i) + ".");
    model.add_layer(layer.under("norm."), make_block(config, layer.under("mixer."), dtype));
  }
  model.add_layer(source.under(prefix + "norm_f."), nullptr);
  source.placement().finish();
  return model;
}

LanguageModel LanguageModel::random(const LanguageModelConfig& config, DType dtype, std::uint64_t seed,
                                    Device device, const Quantization& quantization) {
  Placement placement(device);
  placement.use_huge_pages();
  LanguageModel model(config, dtype, device);
  const double residual_scale =
      config.rescale_prenorm_residual ? std::sqrt(static_cast<double>(config.n_layer)) : 1.0;
  const auto draw_table = [&](std::uint64_t table_seed) {
    return ParameterMap{{"table.weight", initial_embedding(config.vocab_size, config.d_model,
                                                           config.initializer_range, table_seed)}};
  };
  const auto draw_layer = [&](std::uint64_t layer_seed) {
    return std::visit(
        [&](const auto& mixer) { return initial_parameters(mixer, layer_seed, residual_scale); },
        config.mixer);
  };
  // Each has a seed of its own, so they are drawn side by side, a few ahead of those that are placed.
  const std::int64_t tables = config.tie_embeddings ? 1 : 2, count = tables + config.n_layer;
  std::deque<std::future<ParameterMap>> drawn;
  std::int64_t next = 0;
  const auto take = [&] {
    for (; next < count && static_cast<int>(drawn.size()) < num_threads(); ++next) {
      drawn.push_back(std::async(std::launch::async, [&, i = next] {
        if (i < tables) return draw_table(seed + static_cast<std::uint64_t>(i));
        return draw_layer(seed + 2 + static_cast<std::uint64_t>(i - tables));
      }));
    }
    ParameterMap parameters = drawn.front().get();
    drawn.pop_front();
    return ParameterSource(std::move(parameters), placement);
  };
  const auto take_quantized = [&](const Quantization& what) {
    ParameterSource source = take();
    source.set_quantization(what);
    return source;
  };
  const auto take_table = [&](const Quantization& what) {
    return require_table(take_quantized(what), "table", {config.vocab_size, config.d_model}, dtype);
  };
  const Weight embedding = take_table(config.tie_embeddings ? quantization : Quantization{});
  model.set_embedding(embedding, config.tie_embeddings ? embedding : take_table(quantization));
  const ParameterSource norm(
      ParameterMap{{"weight", filled({config.d_model}, 1.0f)}, {"bias", filled({config.d_model}, 0.0f)}},
      placement);
  for (std::int64_t i = 0; i < config.n_layer; ++i)
    model.add_layer(norm, make_block(config, take_quantized(quantization), dtype));
  model.add_layer(norm, nullptr);
  placement.finish();
  return model;
}

void LanguageModel::add_layer(const ParameterSource& source, std::unique_ptr<Block> block) {
  const Dims shape{m_config.d_model};
  Layer layer;
  layer.norm = require_parameter(source, "weight", shape, DType::float32);
  if (!m_config.rms_norm) layer.norm_bias = require_parameter(source, "bias", shape, DType::float32);
  layer.block = std::move(block);
  m_layers.push_back(std::move(layer));
}

void LanguageModel::set_embedding(Weight embedding, Weight head) {
  m_embedding = std::move(embedding);
  m_head = std::move(head);
}

void LanguageModel::require_own_kind(const ModelCache& cache) const {
  OPHIS_REQUIRE(cache.layers() == m_config.n_layer, "the cache has ", cache.layers(),
                " layers, but the model has ", m_config.n_layer);
}

std::size_t LanguageModel::step_bytes() const {
  std::size_t total = m_head.bytes();
  for (const Layer& layer : m_layers) {
    total += layer.norm.tensor.bytes() + layer.norm_bias.tensor.bytes();
    if (layer.block) total += layer.block->parameter_bytes();
  }
  return total;
}

ModelCache LanguageModel::make_cache(std::int64_t batch, DType state_dtype) const {
  OPHIS_REQUIRE(batch >= 1, "a cache needs a batch of at least 1, got ", batch);
  ExecContext exec(m_device);
  std::vector<BlockState> states;
  for (const Layer& layer : m_layers) {
    if (layer.block) states.push_back(layer.block->make_state(exec, batch, state_dtype));
  }
  exec.fence();
  return ModelCache(std::move(states), batch);
}

ForwardOutput LanguageModel::forward(ExecContext& exec, const ForwardInput& input) const {
  return Pass(*this, exec, input).run();
}

void LanguageModel::step(ExecContext& exec, const Tensor& ids, ModelCache& cache,
                         const Tensor& logits) const {
  require_own_kind(cache);
  OPHIS_REQUIRE(cache.batch() == ids.count() && ids.rank() == 1, "step: ids are ", ids,
                ", but the cache has batch ", cache.batch());
  const Workspace::Scope scope(exec.workspace());
  const Dims shape{cache.batch(), m_config.d_model};
  const Tensor residual =
      exec.workspace().take_tensor(m_config.residual_in_fp32 ? DType::float32 : m_dtype, shape);
  const Tensor normed = exec.workspace().take_tensor(m_dtype, shape);
  embed(exec, m_embedding, ids, residual);
  for (std::size_t i = 0; i + 1 < m_layers.size(); ++i) {
    const Layer& layer = m_layers[i];
    if (!m_config.rms_norm) Pass::normalise(m_config, exec, layer, residual, {}, {}, normed);
    const StepInput input = m_config.rms_norm ? StepInput{residual, layer.norm.tensor, m_config.norm_epsilon}
                                              : StepInput{normed, {}};
    layer.block->step(exec, input, residual, cache.m_layers[i]);
  }
  if (m_config.rms_norm && !m_head.is_quantized()) {
    NormLinearArgs head;
    head.x = residual;
    head.norm_weight = m_layers.back().norm.tensor;
    head.eps = m_config.norm_epsilon;
    set_weight(head, m_head);
    head.out = logits;
    norm_linear(exec, head);
  } else {
    Pass::normalise(m_config, exec, m_layers.back(), residual, {}, {}, normed);
    project(exec, normed, m_head, {}, logits, true);
  }
  ++cache.m_seqlen;
}

}  // namespace ophis
