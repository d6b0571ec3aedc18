#include "models/src/gguf/gguf_parameters.hpp"

#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "models/src/checkpoint_parameters.hpp"
#include "models/src/json.hpp"

namespace ophis {
namespace {

struct Renamed {
  std::string_view ours, theirs;
};

constexpr std::array<Renamed, 3> model_layers{
    {{"backbone.embeddings.", "token_embd."}, {"backbone.norm_f.", "output_norm."}, {"lm_head.", "output."}}};
/// Of a block; layers end in a dot and have a weight and perhaps a bias.
constexpr std::array<Renamed, 11> block_parts{{{"norm.", "attn_norm."},
                                               {"mixer.in_proj.", "ssm_in."},
                                               {"mixer.conv1d.", "ssm_conv1d."},
                                               {"mixer.x_proj.", "ssm_x."},
                                               {"mixer.dt_proj.", "ssm_dt."},
                                               {"mixer.norm.", "ssm_norm."},
                                               {"mixer.out_proj.", "ssm_out."},
                                               {"mixer.A_log", "ssm_a"},
                                               {"mixer.A", "ssm_a"},
                                               {"mixer.D", "ssm_d"},
                                               {"mixer.dt_bias", "ssm_dt.bias"}}};
constexpr Renamed blocks{"backbone.layers.", "blk."};

using Side = std::string_view Renamed::*;

/// The name with its beginning renamed; nothing if it is none of those.
template <class Names>
std::optional<std::string> rename(const Names& names, std::string_view name, Side from, Side to) {
  for (const Renamed& renamed : names) {
    const std::string_view start = renamed.*from;
    if (start.ends_with('.') ? name.starts_with(start) : name == start)
      return std::string(renamed.*to).append(name.substr(start.size()));
  }
  return std::nullopt;
}

/// "backbone.layers.3.mixer.in_proj.weight" <-> "blk.3.ssm_in.weight"; nothing for what the other side lacks.
std::optional<std::string> translate(std::string_view name, Side from, Side to) {
  if (!name.starts_with(blocks.*from)) return rename(model_layers, name, from, to);
  name.remove_prefix((blocks.*from).size());
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto part = rename(block_parts, name.substr(dot + 1), from, to);
  if (!part) return std::nullopt;
  return std::string(blocks.*to).append(name.substr(0, dot + 1)).append(*part);
}

bool is_used_as_it_is(std::string_view dtype) {
  return dtype == "float32" || dtype == "float16" || dtype == "bfloat16";
}

/// What the scan's A, which is negative, was made of.
Parameter log_of_minus(const Parameter& A) {
  OwnedTensor A_log = convert(A.tensor, DType::float32);
  float* const values = A_log->data<float>();
  for (std::int64_t i = 0; i < A_log->count(); ++i) values[i] = std::log(-values[i]);
  return own(std::move(A_log));
}

/// The shape in Hugging Face's layout.
Dims original_shape(std::string_view name, const Dims& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  if (name.ends_with("mixer.conv1d.weight") && shape.size() == 2) return {shape[0], 1, shape[1]};
  const bool is_column = shape.size() == 2 && shape[1] == 1;  // A and D of Mamba-2
  const bool is_grouped = name.ends_with("mixer.norm.weight");
  return is_column || is_grouped ? Dims{count} : shape;
}

}  // namespace

GgufParameters::GgufParameters(std::shared_ptr<const Checkpoint> checkpoint)
    : m_checkpoint(std::move(checkpoint)) {}

std::vector<std::string> GgufParameters::names() const {
  const auto& metadata = m_checkpoint->metadata();
  const auto architecture = metadata.find("general.architecture");
  const bool is_mamba2 = architecture != metadata.end() && architecture->second == "mamba2";
  std::vector<std::string> names;
  for (const std::string& tensor : m_checkpoint->names()) {
    auto name = translate(tensor, &Renamed::theirs, &Renamed::ours);
    if (!name) continue;
    constexpr std::string_view dt_bias = "mixer.dt_proj.bias";
    if (is_mamba2 && name->ends_with(dt_bias))
      name->replace(name->size() - dt_bias.size(), dt_bias.size(), "mixer.dt_bias");
    names.push_back(std::move(*name));
  }
  return names;
}

Parameter GgufParameters::find(const std::string& name) {
  constexpr std::string_view weight = ".weight";
  const std::size_t last = name.rfind(weight);
  const std::string part = last == std::string::npos ? "" : name.substr(last + weight.size());
  const auto tensor = translate(name.substr(0, name.size() - part.size()), &Renamed::ours, &Renamed::theirs);
  if (!tensor) return {};
  if (part.empty()) {
    Parameter parameter = whole(*tensor);
    parameter.tensor = parameter.tensor.reshape(original_shape(name, parameter.tensor.shape()));
    return name.ends_with("mixer.A_log") ? log_of_minus(parameter) : parameter;
  }
  if (!m_checkpoint->contains(*tensor) || !gguf::can_unpack(m_checkpoint->info(*tensor).dtype)) return {};
  const Unpacked matrix = unpacked(*tensor);
  if (part == "_packed") return {matrix->codes, matrix};
  if (part == "_scale") return {matrix->scale, matrix};
  if (part == "_shift") return {matrix->shift, matrix};
  return {};
}

Parameter GgufParameters::whole(const std::string& tensor) {
  const TensorInfo info = m_checkpoint->info(tensor);
  if (is_used_as_it_is(info.dtype)) return mapped_parameter(m_checkpoint, tensor);
  if (!gguf::can_unpack(info.dtype)) {
    fail(ErrorCode::unsupported, info.file.string(), ": tensor ", json_quoted(tensor), " has the type ",
         info.dtype, "; Ophis reads F32, F16, BF16, ", gguf::unpackable_types());
  }
  Parameter parameter = own(dequantize(*unpacked(tensor)));
  parameter.tensor = parameter.tensor.reshape(Dims(std::span<const std::int64_t>(info.shape)));
  return parameter;
}

GgufParameters::Unpacked GgufParameters::unpacked(const std::string& tensor) {
  if (tensor == m_unpacked_name) return m_unpacked;
  m_unpacked_name.clear();
  m_unpacked.reset();  // before the next one takes memory
  const TensorInfo info = m_checkpoint->info(tensor);
  const std::int64_t columns = info.shape.empty() ? 0 : info.shape.back();
  std::int64_t rows = 1;
  for (std::size_t axis = 0; axis + 1 < info.shape.size(); ++axis) rows *= info.shape[axis];
  m_unpacked = std::make_shared<const gguf::UnpackedMatrix>(
      gguf::unpack(info.dtype, m_checkpoint->bytes(tensor), rows, columns,
                   [&](std::span<const std::byte> bytes) { m_checkpoint->release(bytes); }));
  m_checkpoint->release(tensor);
  m_unpacked_name = tensor;
  return m_unpacked;
}

}  // namespace ophis
