#include "ophis/models/cache_file.hpp"

#include <charconv>
#include <map>
#include <string>

#include "models/src/json.hpp"
#include "models/src/mapped_file.hpp"
#include "models/src/safetensors_reader.hpp"
#include "ophis/core/copy.hpp"
#include "ophis/models/safetensors_writer.hpp"

namespace ophis {
namespace {

using Metadata = std::map<std::string, std::string>;

constexpr const char* format_name = "ophis-cache";
constexpr const char* format_version = "1";

void describe(Metadata& to, const MambaConfig& mixer) {
  to["model.d_inner"] = std::to_string(mixer.d_inner);
  to["model.d_state"] = std::to_string(mixer.d_state);
  to["model.d_conv"] = std::to_string(mixer.d_conv);
  to["model.dt_rank"] = std::to_string(mixer.dt_rank);
}

void describe(Metadata& to, const Mamba2Config& mixer) {
  to["model.d_inner"] = std::to_string(mixer.d_inner);
  to["model.d_state"] = std::to_string(mixer.d_state);
  to["model.d_conv"] = std::to_string(mixer.d_conv);
  to["model.headdim"] = std::to_string(mixer.headdim);
  to["model.nheads"] = std::to_string(mixer.nheads);
  to["model.ngroups"] = std::to_string(mixer.ngroups);
}

/// What a model has to have in common with the one that wrote the file.
Metadata describe(const LanguageModel& model) {
  const LanguageModelConfig& config = model.config();
  Metadata result{{"model.model_type", config.model_type},
                  {"model.vocab_size", std::to_string(config.vocab_size)},
                  {"model.d_model", std::to_string(config.d_model)},
                  {"model.n_layer", std::to_string(config.n_layer)},
                  {"model.dtype", to_string(model.dtype())}};
  std::visit([&](const auto& mixer) { describe(result, mixer); }, config.mixer);
  return result;
}

/// The tensors of a cache by their names in the file.
std::vector<NamedTensor> tensors_of(const ModelCache& cache) {
  std::vector<NamedTensor> tensors;
  for (std::int64_t i = 0; i < cache.layers(); ++i) {
    const std::string layer = "layers." + std::to_string(i);
    tensors.push_back({layer + ".conv", cache.layer(i).conv_memory});
    tensors.push_back({layer + ".ssm", cache.layer(i).ssm});
  }
  return tensors;
}

std::string tokens_name(std::size_t sequence) { return "tokens." + std::to_string(sequence); }

/// Throws Error(invalid_argument) if the cache is none of the model's.
void check_cache(const LanguageModel& model, const ModelCache& cache) {
  // Of one sequence, whatever the batch: the states of many take much memory.
  const ModelCache own =
      model.make_cache(1, cache.layers() > 0 ? cache.layer(0).ssm->dtype() : DType::float32);
  const std::vector<NamedTensor> given = tensors_of(cache), wanted = tensors_of(own);
  OPHIS_REQUIRE(given.size() == wanted.size(), "the cache has ", cache.layers(),
                " layers, but the model has ", own.layers());
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Tensor& is = given[i].tensor;
    const DType dtype = wanted[i].tensor.dtype();
    Dims shape = wanted[i].tensor.shape();
    shape[0] = cache.batch();
    OPHIS_REQUIRE(is.shape() == shape && is.dtype() == dtype, "the cache's ", given[i].name, " is ", is,
                  ", but the model's is ", dtype, ' ', shape);
  }
}

/// A file of states that is open.
class CacheFile {
 public:
  explicit CacheFile(const std::filesystem::path& path) : m_name(path.string()), m_map(path) {
    FileContents contents = read_safetensors(m_map.bytes(), m_name);
    m_metadata = std::move(contents.metadata);
    for (TensorRecord& record : contents.tensors) {
      std::string name = record.name;
      m_records.emplace(std::move(name), std::move(record));
    }
    if (text("format") != format_name) {
      fail(ErrorCode::corrupt_data, m_name, ": this is no file of a model's states: its format is ",
           json_quoted(text("format")), ", not \"", format_name, '"');
    }
    if (text("version") != format_version) {
      fail(ErrorCode::unsupported, m_name, ": version ", json_quoted(text("version")),
           " of the format is not known, only ", format_version);
    }
  }

  /// The file holds states of such a model.
  void require_model(const Metadata& model) const {
    for (const auto& [key, value] : model) {
      OPHIS_REQUIRE(text(key) == value, m_name, ": the states are of another model: ", key, " is ",
                    json_quoted(text(key)), " there, but ", json_quoted(value), " here");
    }
  }

  std::int64_t integer(const std::string& key) const {
    const std::string value = text(key);
    std::int64_t number = 0;
    const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    constexpr std::int64_t largest = std::int64_t{1} << 48;  // may be counted on from
    if (error != std::errc() || rest != value.data() + value.size() || number < 0 || number > largest) {
      fail(ErrorCode::corrupt_data, m_name, ": ", key, " is ", json_quoted(value),
           ", but must be a number from 0 to ", largest);
    }
    return number;
  }

  /// A tensor of this name.
  Tensor take(const std::string& name) {
    const auto found = m_records.find(name);
    if (found == m_records.end()) fail(ErrorCode::corrupt_data, m_name, ": there is no tensor ", name);
    require_readable(found->second, m_name);
    const Tensor tensor = view_of(found->second, m_map.bytes().data() + found->second.region_offset);
    m_records.erase(found);
    return tensor;
  }
  bool has(const std::string& name) const { return m_records.contains(name); }

  /// Nothing is left to take.
  void require_empty() const {
    if (m_records.empty()) return;
    fail(ErrorCode::corrupt_data, m_name, ": tensor ", json_quoted(m_records.begin()->first),
         " does not belong in a file of this model's states");
  }

  const std::string& name() const { return m_name; }

 private:
  std::string text(const std::string& key) const {
    const auto found = m_metadata.find(key);
    return found == m_metadata.end() ? std::string() : found->second;
  }

  std::string m_name;
  MappedFile m_map;
  Metadata m_metadata;
  std::map<std::string, TensorRecord> m_records;
};

TokenIds to_ids(const Tensor& tensor, const std::string& origin, std::int64_t vocab_size) {
  if (tensor.dtype() != DType::int32 || tensor.rank() != 1) {
    fail(ErrorCode::corrupt_data, origin, ": tokens are ", tensor, ", but must be int32 of one axis");
  }
  const std::int32_t* const ids = tensor.data<std::int32_t>();
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size) {
      fail(ErrorCode::corrupt_data, origin, ": token ", ids[i], " is outside the vocabulary of ", vocab_size);
    }
  }
  return {ids, ids + tensor.count()};
}

}  // namespace

void save_cache(ExecContext& exec, const std::filesystem::path& path, const LanguageModel& model,
                const ModelCache& cache, std::span<const TokenIds> tokens) {
  check_cache(model, cache);
  OPHIS_REQUIRE(tokens.empty() || static_cast<std::int64_t>(tokens.size()) == cache.batch(),
                "save_cache: tokens are given for ", tokens.size(), " sequences, but the cache has ",
                cache.batch());
  Metadata metadata = describe(model);
  metadata["format"] = format_name;
  metadata["version"] = format_version;
  metadata["seqlen"] = std::to_string(cache.seqlen());
  std::vector<NamedTensor> tensors = tensors_of(cache);
  std::vector<OwnedTensor> memory;
  for (NamedTensor& named : tensors) {
    if (named.tensor.device() == Device::cpu()) continue;
    memory.push_back(copy_to(exec, named.tensor, Device::cpu()));
    named.tensor = memory.back();
  }
  exec.fence();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    for (const std::int32_t id : tokens[i]) {
      OPHIS_REQUIRE(id >= 0 && id < model.config().vocab_size, "save_cache: token ", id,
                    " is outside the vocabulary of ", model.config().vocab_size);
    }
    const OwnedTensor& ids =
        memory.emplace_back(DType::int32, Dims{static_cast<std::int64_t>(tokens[i].size())});
    std::copy(tokens[i].begin(), tokens[i].end(), ids->data<std::int32_t>());
    tensors.push_back({tokens_name(i), ids});
  }
  save_safetensors(path, tensors, metadata);
}

std::vector<TokenIds> load_cache(ExecContext& exec, const std::filesystem::path& path,
                                 const LanguageModel& model, ModelCache& cache) {
  check_cache(model, cache);
  CacheFile file(path);
  file.require_model(describe(model));
  const std::int64_t seqlen = file.integer("seqlen");
  std::vector<std::pair<Tensor, Tensor>> copies;
  for (const NamedTensor& own : tensors_of(cache)) {
    const Tensor from = file.take(own.name);
    OPHIS_REQUIRE(from.shape() == own.tensor.shape() && from.dtype() == own.tensor.dtype(), file.name(), ": ",
                  own.name, " is ", from, ", but the cache's is ", own.tensor);
    copies.emplace_back(from, own.tensor);
  }
  std::vector<TokenIds> tokens;
  for (std::size_t i = 0; file.has(tokens_name(i)); ++i) {
    tokens.push_back(to_ids(file.take(tokens_name(i)), file.name(), model.config().vocab_size));
  }
  file.require_empty();
  if (!tokens.empty() && static_cast<std::int64_t>(tokens.size()) != cache.batch()) {
    fail(ErrorCode::corrupt_data, file.name(), ": it holds tokens of ", tokens.size(),
         " sequences, but states of ", cache.batch());
  }
  for (const auto& [from, to] : copies) copy(exec, from, to);
  exec.fence();
  cache.set_seqlen(seqlen);
  return tokens;
}

}  // namespace ophis
