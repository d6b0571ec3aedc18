#include "models/src/gguf/gguf_tokenizer.hpp"

#include <algorithm>
#include <array>

#include "models/src/gguf/gguf_reader.hpp"
#include "models/src/mapped_file.hpp"

namespace ophis {
namespace {

using nlohmann::json;

/// How text is cut before BPE, in the tokenizers that llama.cpp names in tokenizer.ggml.pre.
struct PreTokenization {
  std::string_view pattern;    ///< empty: GPT-2's, which is that of ByteLevel
  bool digits = false;         ///< first, each digit by itself
  bool nfc = false;            ///< of text that is normalized
  bool ignore_merges = false;  ///< a word that is a token is taken whole
  bool add_bos = false;        ///< unless the file says otherwise
};

constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr PreTokenization gpt2{""}, gpt_neox{.pattern = "", .nfc = true},
    starcoder{.pattern = "", .digits = true},
    llama3{.pattern = llama3_pattern, .ignore_merges = true, .add_bos = true},
    qwen2{.pattern = qwen2_pattern, .nfc = true};

struct Named {
  std::string_view name;
  PreTokenization pre;
};

/// GPT-NeoX's tokenizer, which the published models have, goes by the names of others that share it. Files
/// from before there was the key have none.
constexpr std::array<Named, 12> known{{{"default", gpt_neox},
                                       {"gpt-2", gpt2},
                                       {"mpt", gpt_neox},
                                       {"olmo", gpt_neox},
                                       {"starcoder", starcoder},
                                       {"refact", starcoder},
                                       {"smollm", starcoder},
                                       {"codeshell", starcoder},
                                       {"llama-bpe", llama3},
                                       {"llama3", llama3},
                                       {"llama-v3", llama3},
                                       {"qwen2", qwen2}}};

/// tokenizer.ggml.token_type
enum TokenType : std::int64_t { normal = 1, unknown, control, user_defined, unused, byte };

class TokenizerReader {
 public:
  explicit TokenizerReader(const gguf::Metadata& metadata)
      : m_metadata(metadata),
        m_tokens(metadata.texts(key("tokens"))),
        m_types(metadata.integers(key("token_type"))) {}

  json read() const {
    if (const std::string_view model = m_metadata.text(key("model"), ""); model != "gpt2") {
      fail(ErrorCode::unsupported, m_metadata.label(key("model")), " is ", json_quoted(model),
           "; Ophis knows gpt2, that is byte-level BPE");
    }
    if (m_tokens.empty()) fail(ErrorCode::corrupt_data, m_metadata.label(key("tokens")), " holds no tokens");
    if (!m_types.empty() && m_types.size() != m_tokens.size()) {
      fail(ErrorCode::corrupt_data, m_metadata.label(key("token_type")), " has ", m_types.size(),
           " elements for ", m_tokens.size(), " tokens");
    }
    const PreTokenization& pre = pre_tokenization();
    const json byte_level{
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", pre.pattern.empty()}};
    json splits = json::array();
    if (pre.digits) splits.push_back(split(R"(\p{N})"));
    if (!pre.pattern.empty()) splits.push_back(split(pre.pattern));
    splits.push_back(byte_level);
    return {
        {"version", "1.0"},
        {"truncation", nullptr},
        {"padding", nullptr},
        {"added_tokens", added_tokens()},
        {"normalizer", pre.nfc ? json{{"type", "NFC"}} : json()},
        {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", splits}}},
        {"post_processor", post_processor(pre)},
        {"decoder", byte_level},
        {"model",
         {{"type", "BPE"}, {"ignore_merges", pre.ignore_merges}, {"vocab", vocab()}, {"merges", merges()}}}};
  }

 private:
  static std::string key(std::string_view name) { return detail::concat("tokenizer.ggml.", name); }

  static json split(std::string_view pattern) {
    return {
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  }

  const PreTokenization& pre_tokenization() const {
    const std::string_view name = m_metadata.text(key("pre"), "default");
    const auto* const found =
        std::find_if(known.begin(), known.end(), [&](const Named& row) { return row.name == name; });
    if (found != known.end()) return found->pre;
    std::string names;
    for (const Named& row : known) names.append(names.empty() ? "" : ", ").append(row.name);
    fail(ErrorCode::unsupported, m_metadata.label(key("pre")), " is ", json_quoted(name), "; Ophis knows ",
         names);
  }

  /// UNUSED tokens are padding of the embedding and have no text.
  bool is_used(std::size_t id) const { return m_types.empty() || m_types[id] != TokenType::unused; }

  json vocab() const {
    json vocab = json::object();
    for (std::size_t id = 0; id < m_tokens.size(); ++id) {
      if (!is_used(id)) continue;
      const std::string_view token = m_tokens[id];
      const auto wrong = [&](const char* what) {
        fail(ErrorCode::corrupt_data, m_metadata.label(key("tokens")), "[", id, "], ", json_quoted(token),
             ", ", what);
      };
      if (token.empty() || !is_utf8(token)) wrong("is no text in UTF-8");
      if (!vocab.emplace(token, id).second) wrong("is there twice");
    }
    return vocab;
  }

  json merges() const {
    json merges = json::array();
    for (const std::string_view merge : m_metadata.texts(key("merges"))) {
      const std::size_t space = merge.find(' ', 1);
      if (space == std::string_view::npos || !is_utf8(merge)) {
        fail(ErrorCode::corrupt_data, m_metadata.label(key("merges")), "[", merges.size(),
             "] should be \"a b\", ", "got ", json_quoted(merge));
      }
      merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
    }
    return merges;
  }

  /// Tokens that are cut out of the text whole.
  json added_tokens() const {
    json added = json::array();
    for (std::size_t id = 0; id < m_types.size(); ++id) {
      if (m_types[id] != TokenType::control && m_types[id] != TokenType::user_defined) continue;
      added.push_back({{"id", id},
                       {"content", m_tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", m_types[id] == TokenType::control}});
    }
    return added;
  }

  /// Adds the tokens that begin and end a text, where the file wants them.
  json post_processor(const PreTokenization& pre) const {
    json parts = json::array({{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}), tokens = json::object();
    const auto special = [&](std::string_view name) {
      const std::int64_t last = static_cast<std::int64_t>(m_tokens.size()) - 1;
      const auto id =
          static_cast<std::size_t>(m_metadata.integer(key(detail::concat(name, "_token_id")), 0, last));
      tokens[std::string(name)] = {{"id", name}, {"ids", {id}}, {"tokens", {m_tokens[id]}}};
      return json{{"SpecialToken", {{"id", name}, {"type_id", 0}}}};
    };
    if (m_metadata.boolean(key("add_bos_token"), pre.add_bos)) parts.insert(parts.begin(), special("bos"));
    if (m_metadata.boolean(key("add_eos_token"), false)) parts.push_back(special("eos"));
    if (tokens.empty()) return nullptr;
    return {{"type", "TemplateProcessing"},
            {"single", parts},
            {"pair", json::array()},
            {"special_tokens", tokens}};
  }

  const gguf::Metadata& m_metadata;
  std::vector<std::string_view> m_tokens;
  std::vector<std::int64_t> m_types;
};

}  // namespace

nlohmann::json load_gguf_tokenizer(const std::filesystem::path& file) {
  const MappedFile map(file);
  return TokenizerReader(read_gguf_metadata(map.bytes(), file.string())).read();
}

}  // namespace ophis
