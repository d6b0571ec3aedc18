#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <map>
#include <system_error>

#include "models/src/atomic_file.hpp"
#include "models/src/checkpoint_parameters.hpp"
#include "models/src/gguf/block_formats.hpp"
#include "models/src/gguf/gguf_config.hpp"
#include "models/src/gguf/gguf_tokenizer.hpp"
#include "models/src/json.hpp"
#include "models/src/projection.hpp"
#include "models/src/quantize_parameter.hpp"
#include "ophis/core/host_parallel.hpp"
#include "ophis/core/simd.hpp"
#include "ophis/models/language_model.hpp"
#include "ophis/models/safetensors_writer.hpp"
#include "ophis/models/tokenizer.hpp"

namespace ophis {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t block = InputStatistics::block;

/// Adds x^T x of the rows of x (rows, in), float32, to the statistics.
void add_products(InputStatistics& statistics, const Tensor& x) {
  constexpr int W = native_pack_width;
  static_assert(block % W == 0);
  const std::int64_t rows = x.extent(0), in = x.extent(1), blocks = (in + block - 1) / block;
  const float* const values = x.data<float>();
  for_each_on_host(blocks * block, [&](std::int64_t item, int) {
    const std::int64_t begin = item / block * block, i = item % block;
    const std::int64_t end = std::min(begin + block, in);
    if (begin + i >= end) return;
    float* const to = statistics.products->data<float>() + item * block;
    for (std::int64_t j = begin; j < end; j += W) {
      const int count = static_cast<int>(std::min<std::int64_t>(W, end - j));
      Pack<W> sum = load<W>(to + j - begin);
      for (std::int64_t r = 0; r < rows; ++r) {
        const float* const row = values + r * in;
        sum = fma(Pack<W>(row[begin + i]), load<W>(row + j, 1, count), sum);
      }
      store(to + j - begin, sum);
    }
  });
}

using StatisticsByName = std::map<std::string, InputStatistics>;

/// Runs the model over a text and looks at what its weights are multiplied with.
StatisticsByName calibrate(const fs::path& folder, const QuantizeOptions& options) {
  const Tokenizer tokenizer = Tokenizer::from_file(folder);
  std::vector<std::int32_t> tokens = tokenizer.encode(options.calibration_text);
  const std::size_t most = static_cast<std::size_t>(options.calibration_tokens);
  if (tokens.size() > most) tokens.resize(most);
  OPHIS_REQUIRE(!tokens.empty(), "the calibration text has no tokens");
  const LanguageModel model = LanguageModel::load(folder, {.dtype = DType::float32});
  StatisticsByName statistics;
  const ScopedProjectionObserver observer([&](const Weight& weight, const Tensor& x) {
    const std::int64_t in = x.extent(-1);
    InputStatistics& of_weight = statistics[weight.name];
    if (!of_weight.products.view()) {
      of_weight.products = OwnedTensor(DType::float32, {(in + block - 1) / block, block, block});
      std::fill_n(of_weight.products->data<float>(), of_weight.products->count(), 0.0f);
    }
    add_products(of_weight, convert(x, DType::float32)->reshape({x.count() / in, in}));
  });
  ExecContext exec;
  constexpr std::size_t window = 1024;
  std::vector<std::int64_t> ids(tokens.begin(), tokens.end());
  for (std::size_t begin = 0; begin < ids.size(); begin += window) {
    const auto count = static_cast<std::int64_t>(std::min(window, ids.size() - begin));
    ForwardInput input;
    input.input_ids = Tensor(ids.data() + begin, DType::int64, {1, count});
    model.forward(exec, input);
  }
  return statistics;
}

bool ends_with_layer(const std::string& layer, std::string_view name) {
  if (!layer.ends_with(name)) return false;
  const std::size_t before = layer.size() - name.size();
  return before == 0 || layer[before - 1] == '.';
}

/// The format of a layer's weight, if it is to be quantized.
std::optional<WeightFormat> format_of(const std::string& layer, const Quantization& what, bool tied) {
  if (ends_with_layer(layer, "mixer.in_proj") || ends_with_layer(layer, "mixer.out_proj"))
    return what.projections;
  const bool is_embedding = ends_with_layer(layer, "embeddings") || ends_with_layer(layer, "embedding");
  if ((is_embedding && tied) || (layer == "lm_head" && !tied)) return what.tables;
  return std::nullopt;
}

/// (ceil(out / n), groups) int32 of n = 32 / bits zero points each, packed along the outputs.
OwnedTensor pack_zero_points(const Tensor& zero_point, int bits) {
  const std::int64_t out = zero_point.extent(0), groups = zero_point.extent(1), per_word = 32 / bits;
  OwnedTensor packed(DType::int32, {(out + per_word - 1) / per_word, groups});
  for (std::int64_t word = 0; word < packed->extent(0); ++word) {
    for (std::int64_t g = 0; g < groups; ++g) {
      std::uint32_t bits_of_word = 0;
      for (std::int64_t o = word * per_word; o < std::min(out, (word + 1) * per_word); ++o) {
        const auto zero = static_cast<std::uint32_t>(zero_point.data<std::uint8_t>()[o * groups + g]);
        bits_of_word |= zero << (o % per_word * bits);
      }
      packed->data<std::int32_t>()[word * groups + g] = static_cast<std::int32_t>(bits_of_word);
    }
  }
  return packed;
}

/// The tensors to write, and what keeps their memory.
struct Contents {
  std::vector<NamedTensor> tensors;
  std::deque<OwnedTensor> made;
  std::vector<Parameter> taken;

  void add(const std::string& name, const Parameter& parameter) {
    taken.push_back(parameter);
    add(name, parameter.tensor);
  }
  void add(const std::string& name, const Tensor& tensor) { tensors.push_back({name, tensor}); }
  void add(const std::string& name, OwnedTensor tensor) {
    made.push_back(std::move(tensor));
    add(name, made.back().view());
  }

  void add(const std::string& layer, QuantizedMatrix matrix, std::int64_t in) {
    const Tensor& codes = made.emplace_back(std::move(matrix.codes));
    const std::int64_t out = codes.extent(0);
    add(layer + ".weight_packed", Tensor(codes.raw(), DType::int32, {out, codes.extent(1) / 4}));
    add(layer + ".weight_scale", std::move(matrix.scale));
    if (matrix.zero_point.view())
      add(layer + ".weight_zero_point", pack_zero_points(matrix.zero_point, matrix.format.bits));
    OwnedTensor shape(DType::int64, {2});
    shape->data<std::int64_t>()[0] = out;
    shape->data<std::int64_t>()[1] = in;
    add(layer + ".weight_shape", std::move(shape));
  }
};

/// A group of quantization_config, as compressed-tensors has them.
nlohmann::ordered_json describe(const WeightFormat& format, const std::vector<std::string>& targets) {
  const bool groups = format.group_size > 0;
  return {{"targets", targets},
          {"weights",
           {{"num_bits", format.bits},
            {"type", "int"},
            {"symmetric", format.symmetric},
            {"strategy", groups ? "group" : "channel"},
            {"group_size", groups ? nlohmann::ordered_json(format.group_size) : nlohmann::ordered_json()},
            {"dynamic", false}}},
          {"input_activations", nullptr},
          {"output_activations", nullptr},
          {"format", "pack-quantized"}};
}

nlohmann::ordered_json quantization_config(const Quantization& what, bool tied) {
  nlohmann::ordered_json groups = nlohmann::ordered_json::object();
  const auto add = [&](const std::optional<WeightFormat>& format, const std::vector<std::string>& targets) {
    if (format) groups[detail::concat("group_", groups.size())] = describe(*format, targets);
  };
  add(what.projections, {"re:.*mixer\\.(in_proj|out_proj)$"});
  add(what.tables, {tied ? "re:.*embeddings?$" : "re:.*lm_head$"});
  return {{"quant_method", "compressed-tensors"},
          {"quantization_status", "compressed"},
          {"format", "pack-quantized"},
          {"config_groups", groups},
          {"ignore", nlohmann::ordered_json::array()}};
}

/// A folder that is made under another name, and removed unless it is given its own.
class AtomicFolder {
 public:
  explicit AtomicFolder(fs::path path) : m_path(std::move(path)) {
    while (m_path.has_relative_path() && m_path.filename().empty()) m_path = m_path.parent_path();
    std::error_code error;
    OPHIS_REQUIRE(!fs::exists(m_path, error), m_path.string(), " exists already");
    std::string name = (m_path.parent_path() / (m_path.filename().string() + ".part-XXXXXX")).string();
    const char* const made = ::mkdtemp(name.data());
    if (made == nullptr) {
      fail(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, "could not make ", m_path.string(), ": ",
           std::generic_category().message(errno));
    }
    m_temporary = made;
    fs::permissions(m_temporary, fs::perms(0755), error);
  }
  ~AtomicFolder() {
    std::error_code error;
    if (!m_temporary.empty()) fs::remove_all(m_temporary, error);
  }
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const fs::path& path() const { return m_temporary; }
  void commit() {
    std::error_code error;
    fs::rename(m_temporary, m_path, error);
    if (error) fail(ErrorCode::io, "could not make ", m_path.string(), ": ", error.message());
    m_temporary.clear();
  }

 private:
  fs::path m_path, m_temporary;
};

/// Copies what is neither the configuration nor weights: the tokenizer and the like.
void copy_other_files(const fs::path& from, const fs::path& to) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(from, error)) {
    const fs::path name = entry.path().filename();
    const std::string extension = name.extension().string();
    const bool is_weights = extension == ".safetensors" || extension == ".bin" || extension == ".pt" ||
                            extension == ".pth" || extension == ".gguf" ||
                            name.string().ends_with(".index.json");
    if (!entry.is_regular_file(error) || is_weights || name == "config.json") continue;
    fs::copy_file(entry.path(), to / name, error);
    if (error) fail(ErrorCode::io, "could not copy ", entry.path().string(), ": ", error.message());
  }
  if (error) fail(ErrorCode::io, "could not read ", from.string(), ": ", error.message());
}

void write_json(const fs::path& path, const nlohmann::json& json) {
  const std::string text = json.dump(2) + "\n";
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

/// config.json of the model, the tokenizer and whatever else lies beside the weights.
void write_other_files(const fs::path& from, const Checkpoint& checkpoint, const fs::path& to,
                       const nlohmann::ordered_json& quantization) {
  const bool is_gguf = checkpoint.format() == CheckpointFormat::gguf;
  if (fs::is_directory(from)) copy_other_files(from, to);
  if (is_gguf && !fs::exists(to / "tokenizer.json"))
    write_json(to / "tokenizer.json", load_gguf_tokenizer(checkpoint.files().front()));
  nlohmann::json config = is_gguf ? gguf_config(checkpoint) : read_json_file(from / "config.json");
  config["quantization_config"] = quantization;
  write_json(to / "config.json", config);
}

}  // namespace

void quantize_model(const fs::path& from, const fs::path& to, const QuantizeOptions& options) {
  OPHIS_REQUIRE(options.what, "nothing was chosen to be quantized");
  const LanguageModelConfig config = load_model_config(from);
  const auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(from));
  const CheckpointParameters parameters = parameters_of(checkpoint);
  for (const std::string& name : checkpoint->names()) {
    OPHIS_REQUIRE(!name.ends_with(".weight_packed") && !name.ends_with(".weight_scale") &&
                      !gguf::can_unpack(checkpoint->info(name).dtype),
                  from.string(), " is quantized already");
  }
  AtomicFolder folder(to);
  write_other_files(from, *checkpoint, folder.path(),
                    quantization_config(options.what, config.tie_embeddings));
  const StatisticsByName statistics =
      options.calibration_text.empty() ? StatisticsByName{} : calibrate(from, options);
  Contents contents;
  std::uint64_t done = 0;
  for (const std::string& name : parameters.names) {
    const Parameter parameter = parameters.find(name);
    const Tensor& tensor = parameter.tensor;
    constexpr std::string_view suffix = ".weight";
    const std::string layer = name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : "";
    const auto format = format_of(layer, options.what, config.tie_embeddings);
    if (config.tie_embeddings && layer == "lm_head") continue;  // a copy of the embedding
    if (!format) {
      contents.add(name, parameter);
    } else {
      const auto known = statistics.find(layer);
      try {
        contents.add(layer,
                     quantize(parameter, *format, known == statistics.end() ? nullptr : &known->second),
                     tensor.extent(-1));
      } catch (const Error& error) {
        fail(error.code(), from.string(), ": ", name, ": ", error.what());
      }
    }
    done += tensor.bytes();
    if (options.progress) options.progress(done, checkpoint->total_bytes());
  }
  save_safetensors(folder.path() / "model.safetensors", contents.tensors, {{"format", "pt"}});
  folder.commit();
}

}  // namespace ophis
