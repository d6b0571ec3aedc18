#include "ophis/models/config.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace ophis;

namespace {

LanguageModelConfig parse(std::string_view json) { return parse_model_config(json, "config.json"); }

}  // namespace

TEST_CASE("a Hugging Face Mamba configuration has transformers' defaults") {
  const LanguageModelConfig config = parse(R"({"model_type": "mamba"})");
  const auto& mixer = std::get<MambaConfig>(config.mixer);
  CHECK(config.vocab_size == 50280);
  CHECK(config.d_model == 768);
  CHECK(config.n_layer == 32);
  CHECK(config.tie_embeddings);
  CHECK(mixer.d_inner == 1536);
  CHECK(mixer.dt_rank == 48);
  CHECK(mixer.d_state == 16);
  CHECK(mixer.conv_bias);
  CHECK_FALSE(mixer.bias);
}

TEST_CASE("every parameter of MambaConfig is read") {
  const LanguageModelConfig config =
      parse(R"({"model_type": "mamba", "vocab_size": 99, "hidden_size": 40, "state_size": 7,
    "num_hidden_layers": 3, "layer_norm_epsilon": 1e-6, "pad_token_id": 4, "bos_token_id": 5, "eos_token_id": [6, 8],
    "expand": 3, "conv_kernel": 2, "use_bias": true, "use_conv_bias": false, "hidden_act": "gelu",
    "initializer_range": 0.3, "residual_in_fp32": false, "time_step_rank": 9, "time_step_scale": 2.0,
    "time_step_min": 0.01, "time_step_max": 0.2, "time_step_init_scheme": "uniform", "time_step_floor": 0.003,
    "rescale_prenorm_residual": true, "use_cache": false, "use_mambapy": true, "use_associative_scan": false,
    "tie_word_embeddings": false, "dtype": "float16"})");
  const auto& mixer = std::get<MambaConfig>(config.mixer);
  CHECK(config.vocab_size == 99);
  CHECK(config.d_model == 40);
  CHECK(config.n_layer == 3);
  CHECK(config.norm_epsilon == 1e-6);
  CHECK(config.pad_token_id == 4);
  CHECK(config.bos_token_id == 5);
  CHECK(config.eos_token_ids == std::vector<std::int64_t>{6, 8});
  CHECK(config.initializer_range == 0.3);
  CHECK_FALSE(config.residual_in_fp32);
  CHECK(config.rescale_prenorm_residual);
  CHECK_FALSE(config.tie_embeddings);
  CHECK(config.dtype == DType::float16);
  CHECK(config.unread_parameters.empty());
  CHECK(mixer.d_state == 7);
  CHECK(mixer.d_inner == 120);
  CHECK(mixer.d_conv == 2);
  CHECK(mixer.bias);
  CHECK_FALSE(mixer.conv_bias);
  CHECK(mixer.activation == Activation::gelu);
  CHECK(mixer.dt_rank == 9);
  CHECK(mixer.time_step.scale == 2.0);
  CHECK(mixer.time_step.min == 0.01);
  CHECK(mixer.time_step.max == 0.2);
  CHECK(mixer.time_step.floor == 0.003);
  CHECK(mixer.time_step.init == DtInit::constant);
}

TEST_CASE("a Mamba-2 configuration reads its limits in both spellings of infinity") {
  for (const std::string_view infinity : {"Infinity", R"({"__float__": "Infinity"})"}) {
    const LanguageModelConfig config = parse(detail::concat(
        R"({"model_type": "mamba2", "hidden_size": 48, "expand": 3, "num_heads": 6, "head_dim": 24, "n_groups": 3,
        "chunk_size": 8, "norm_before_gate": true, "future_option": 1, "time_step_limit": [0.01, )",
        infinity, "]}"));
    const auto& mixer = std::get<Mamba2Config>(config.mixer);
    CHECK(mixer.dt_min == 0.01);
    CHECK(std::isinf(mixer.dt_max));
    CHECK(mixer.ngroups == 3);
    CHECK(mixer.conv_dim() == 144 + 2 * 3 * 128);
    CHECK_FALSE(mixer.norm_before_gate);  // transformers reads it and never uses it
    CHECK(config.eos_token_ids == std::vector<std::int64_t>{2});
    CHECK(config.unread_parameters == std::vector<std::string>{"future_option"});
  }
}

TEST_CASE("mamba_ssm's configurations are read") {
  const LanguageModelConfig mamba =
      parse(R"({"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {},
    "rms_norm": true, "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 8})");
  CHECK(mamba.model_type == "mamba");
  CHECK(mamba.vocab_size == 50280);
  CHECK(mamba.rescale_prenorm_residual);
  CHECK(mamba.unread_parameters.empty());
  CHECK(mamba.parameter_count() == 129135360);  // mamba-130m

  const LanguageModelConfig mamba2 =
      parse(R"({"d_model": 768, "d_intermediate": 0, "n_layer": 24, "vocab_size": 50277,
    "ssm_cfg": {"layer": "Mamba2", "headdim": 32, "ngroups": 2, "D_has_hdim": true, "dt_limit": [0.0, 0.5]},
    "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": false, "pad_vocab_size_multiple": 16, "tie_embeddings": true})");
  const auto& mixer = std::get<Mamba2Config>(mamba2.mixer);
  CHECK(mamba2.model_type == "mamba2");
  CHECK(mamba2.vocab_size == 50288);
  CHECK_FALSE(mamba2.rms_norm);
  CHECK(mixer.nheads == 48);
  CHECK(mixer.ngroups == 2);
  CHECK(mixer.D_has_hdim);
  CHECK(mixer.dt_max == 0.5);
}

TEST_CASE("configurations that cannot be honoured are refused by name") {
  const auto refuses = [](const char* json, const char* message) {
    CHECK_THROWS_WITH_AS(parse(json), message, Error);
  };
  refuses(R"({"model_type": "llama"})", "config.json: model_type is 'llama'; Ophis knows mamba and mamba2");
  refuses(R"({"hidden_size": 3})",
          "config.json: neither a Hugging Face configuration (model_type) nor one of mamba_ssm (d_model, "
          "n_layer)");
  refuses(R"([1, 2])", "config.json should be a JSON object, got array");
  refuses(R"({"model_type": "mamba", "hidden_size": "big"})",
          "config.json: hidden_size should be an integer from 1 to 16777216, got \"big\"");
  refuses(R"({"model_type": "mamba", "hidden_size": -4})",
          "config.json: hidden_size should be an integer from 1 to 16777216, got -4");
  refuses(R"({"model_type": "mamba", "hidden_size": 99999999999999999999})",
          "config.json: hidden_size should be an integer from 1 to 16777216, got 1e+20");
  refuses(R"({"model_type": "mamba2", "hidden_size": 64, "num_heads": 3, "head_dim": 16, "n_groups": 1})",
          "config.json: 3 heads of 16 do not make the inner width 128 (expand * hidden_size)");
  refuses(R"({"d_model": 8, "attn_layer_idx": [3]})",
          "config.json: attn_layer_idx: attention layers are not supported yet");
  refuses(R"({"d_model": 8, "ssm_cfg": {"layer": "Mamba3"}})",
          "config.json: ssm_cfg: layer is 'Mamba3'; Ophis knows Mamba1 and Mamba2");
  refuses(R"({"d_model": 8, "ssm_cfg": {"rope": true}})",
          "config.json: ssm_cfg: rope is not a parameter that Ophis knows");
  CHECK_THROWS_AS(parse("{"), Error);
  CHECK_THROWS_AS(parse(R"({"model_type": "mamba", "hidden_act": "swoosh"})"), Error);
}

TEST_CASE("the published shapes are known by name") {
  for (const std::string& name : published_model_names())
    CHECK(published_model_config(name).parameter_count() > 1e8);
  CHECK(published_model_config("mamba2-2.7b").vocab_size == 50288);
  CHECK(published_model_config("codestral-7b").parameter_count() == 7285403648);
  CHECK_THROWS_AS(published_model_config("mamba-9b"), Error);
}
