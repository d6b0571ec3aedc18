#include "models/src/gguf/gguf_config.hpp"

#include "models/src/gguf/gguf_reader.hpp"
#include "models/src/mapped_file.hpp"

namespace ophis {
namespace {

using nlohmann::json;

constexpr std::int64_t largest_size = std::int64_t{1} << 24;

class ConfigReader {
 public:
  ConfigReader(const Checkpoint& checkpoint, const gguf::Metadata& metadata)
      : m_checkpoint(checkpoint),
        m_metadata(metadata),
        m_architecture(metadata.text("general.architecture", "")) {}

  json read() const {
    if (m_architecture != "mamba" && m_architecture != "mamba2") {
      fail(ErrorCode::unsupported, m_metadata.label("general.architecture"), " is ",
           json_quoted(m_architecture), "; Ophis knows mamba and mamba2");
    }
    const std::int64_t d_model = size("embedding_length");
    json config{{"architectures", {m_architecture == "mamba" ? "MambaForCausalLM" : "Mamba2ForCausalLM"}},
                {"model_type", m_architecture},
                {"hidden_size", d_model},
                {"num_hidden_layers", size("block_count")},
                {"state_size", size("ssm.state_size")},
                {"conv_kernel", size("ssm.conv_kernel")},
                {"intermediate_size", size("ssm.inner_size")},
                {"use_bias", false},
                {"use_conv_bias", true},
                {"layer_norm_epsilon", m_metadata.number(key("attention.layer_norm_rms_epsilon"), 1e-5)},
                {"vocab_size", vocab_size(d_model)},
                {"tie_word_embeddings", !m_checkpoint.contains("output.weight")},
                {"dtype", dtype()}};
    if (m_architecture == "mamba") {
      add_mamba(config);
    } else {
      add_mamba2(config, d_model);
    }
    add_token_ids(config);
    return config;
  }

 private:
  std::string key(std::string_view name) const { return detail::concat(m_architecture, ".", name); }
  std::int64_t size(std::string_view name, std::optional<std::int64_t> otherwise = {}) const {
    return m_metadata.integer(key(name), 1, largest_size, otherwise);
  }

  /// Rows of the embedding; metadata have it only sometimes.
  std::int64_t vocab_size(std::int64_t d_model) const {
    const TensorInfo embedding = m_checkpoint.info("token_embd.weight");
    if (embedding.shape.size() != 2 || embedding.shape[1] != d_model) {
      fail(ErrorCode::corrupt_data, m_metadata.origin(),
           ": tensor \"token_embd.weight\" does not have rows of ", d_model, " elements, which is ",
           key("embedding_length"));
    }
    return embedding.shape[0];
  }

  /// That of the projections; float32 where they are quantized.
  std::string dtype() const {
    const std::string name = m_checkpoint.info("blk.0.ssm_in.weight").dtype;
    return name == "float16" || name == "bfloat16" ? name : "float32";
  }

  void add_mamba(json& config) const {
    config["time_step_rank"] = size("ssm.time_step_rank");
    if (m_metadata.boolean(key("ssm.dt_b_c_rms"), false)) {
      fail(ErrorCode::unsupported, m_metadata.label(key("ssm.dt_b_c_rms")),
           ": norms of dt, B and C (Falcon Mamba) are not supported yet");
    }
  }

  void add_mamba2(json& config, std::int64_t d_model) const {
    const std::int64_t d_inner = size("ssm.inner_size"), nheads = size("ssm.time_step_rank");
    if (d_inner % d_model != 0 || d_inner % nheads != 0) {
      fail(ErrorCode::corrupt_data, m_metadata.label(key("ssm.inner_size")), " should be a multiple of ",
           key("embedding_length"), ", ", d_model, ", and of ", key("ssm.time_step_rank"), ", ", nheads,
           ", got ", d_inner);
    }
    config["expand"] = d_inner / d_model;
    config["num_heads"] = nheads;
    config["head_dim"] = d_inner / nheads;
    config["n_groups"] = size("ssm.group_count", 1);
  }

  void add_token_ids(json& config) const {
    const auto id = [&](std::string_view name, std::int64_t otherwise) {
      return m_metadata.integer(detail::concat("tokenizer.ggml.", name, "_token_id"), 0, largest_size,
                                otherwise);
    };
    const std::int64_t eos = id("eos", 0), eot = id("eot", eos);
    config["bos_token_id"] = id("bos", eos);
    config["pad_token_id"] = id("padding", eos);
    config["eos_token_id"] = eot == eos ? json(eos) : json{eos, eot};
  }

  const Checkpoint& m_checkpoint;
  const gguf::Metadata& m_metadata;
  std::string m_architecture;
};

}  // namespace

nlohmann::json gguf_config(const Checkpoint& checkpoint) {
  const std::filesystem::path& path = checkpoint.files().front();
  const MappedFile file(path);
  return ConfigReader(checkpoint, read_gguf_metadata(file.bytes(), path.string())).read();
}

}  // namespace ophis
