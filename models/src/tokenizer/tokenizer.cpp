#include "ophis/models/tokenizer.hpp"

#include <deque>
#include <system_error>
#include <unordered_map>

#include "models/src/checkpoint_file.hpp"
#include "models/src/gguf/gguf_tokenizer.hpp"
#include "models/src/json.hpp"
#include "models/src/tokenizer/added_tokens.hpp"
#include "models/src/tokenizer/bpe.hpp"
#include "models/src/tokenizer/byte_level.hpp"
#include "models/src/tokenizer/pre_tokenizer.hpp"
#include "models/src/tokenizer/tokenizer_file.hpp"
#include "models/src/tokenizer/unicode.hpp"
#include "ophis/core/error.hpp"

namespace ophis {

using namespace tokenizer;

struct Tokenizer::Impl {
  struct Token {
    std::string spelling;
    std::string bytes;  // what it decodes to
    bool special;
  };

  Impl(const TokenizerSpec& spec, std::string_view origin);
  static std::shared_ptr<const Impl> make(const nlohmann::json& json, std::string_view origin) {
    return std::make_shared<const Impl>(read_tokenizer_spec(json, origin), origin);
  }

  void encode_piece(std::string_view text, std::vector<std::int32_t>& ids) const;
  void encode_words(std::string_view text, std::vector<std::int32_t>& ids) const;
  /// The bytes of one token, nullptr if `id` names none or is left out.
  const std::string* bytes_of(std::int32_t id, bool skip_special) const;

  bool nfc;
  AddedTokens added_tokens, normalized_added_tokens;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  IdOfString added_ids;
  std::unordered_map<std::int32_t, Token> tokens;
  std::vector<std::int32_t> prefix_ids, suffix_ids;

 private:
  void add_tokens(const TokenizerSpec& spec, bool special);
  void name_token(const std::string& spelling, std::int32_t id, bool special);
};

Tokenizer::Impl::Impl(const TokenizerSpec& spec, std::string_view origin)
    : nfc(spec.nfc),
      pre_tokenizer(spec.split_steps, origin),
      bpe(spec.bpe, origin),
      prefix_ids(spec.prefix_ids),
      suffix_ids(spec.suffix_ids) {
  tokens.reserve(spec.bpe.vocab.size() + spec.added_tokens.size());
  for (const auto& [spelling, id] : spec.bpe.vocab) name_token(spelling, id, false);
  // Where two tokens look alike once normalized, the special one counts, then the first.
  add_tokens(spec, true);
  add_tokens(spec, false);
  for (const auto* ids : {&prefix_ids, &suffix_ids}) {
    for (const std::int32_t id : *ids) {
      if (!tokens.contains(id)) {
        fail(ErrorCode::corrupt_data, origin, ": post_processor adds the id ", id, ", which names no token");
      }
    }
  }
}

void Tokenizer::Impl::add_tokens(const TokenizerSpec& spec, bool special) {
  for (const AddedToken& token : spec.added_tokens) {
    if (token.special != special) continue;
    const std::string spelling = nfc && token.normalized ? tokenizer::nfc(token.content) : token.content;
    added_ids.emplace(token.content, token.id);
    // As in the tokenizers library, which decodes to the normalized spelling and looks it up among the
    // special ones.
    name_token(spelling, token.id, special && spelling == token.content);
    (token.normalized ? normalized_added_tokens : added_tokens).add(spelling, token);
  }
}

// Added tokens are spelled in plain text, but the decoder reads them as it reads all others.
void Tokenizer::Impl::name_token(const std::string& spelling, std::int32_t id, bool special) {
  tokens.insert_or_assign(id, Token{spelling, read_spelling(spelling).value_or(spelling), special});
}

void Tokenizer::Impl::encode_piece(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::string normalized;
  if (nfc && !is_ascii(text)) text = normalized = tokenizer::nfc(text);
  for (const Piece& piece : normalized_added_tokens.split(text)) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
    } else {
      encode_words(piece.text, ids);
    }
  }
}

void Tokenizer::Impl::encode_words(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::deque<std::string> storage;
  for (const std::string_view word : pre_tokenizer.split(text, storage)) bpe.encode(word, ids);
}

const std::string* Tokenizer::Impl::bytes_of(std::int32_t id, bool skip_special) const {
  OPHIS_REQUIRE(id >= 0, "decode: token ids are not negative, got ", id);
  const auto token = tokens.find(id);
  if (token == tokens.end() || (skip_special && token->second.special)) return nullptr;
  return &token->second.bytes;
}

Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(path, ignored);
  const std::filesystem::path file = is_folder ? path / "tokenizer.json" : path;
  if (!is_folder || !std::filesystem::exists(file, ignored)) {
    if (const auto model = find_gguf(path))
      return Tokenizer(Impl::make(load_gguf_tokenizer(*model), model->string()));
  }
  return from_json(read_text_file(file), file.string());
}

Tokenizer Tokenizer::from_json(std::string_view json, std::string_view origin) {
  return Tokenizer(Impl::make(parse_json(json, origin), origin));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  // Normalization makes text at most three times as long, and BPE counts bytes in 32 bits.
  constexpr std::size_t max_bytes = std::size_t{512} << 20;
  OPHIS_REQUIRE(text.size() <= max_bytes, "encode: the text has ", text.size(), " bytes; at most ", max_bytes,
                " can be encoded at once");
  const std::size_t valid = valid_utf8_prefix(text);
  OPHIS_REQUIRE(valid == text.size(), "encode: the text is not valid UTF-8 at byte ", valid);
  std::vector<std::int32_t> ids;
  if (add_special_tokens) ids = m_impl->prefix_ids;
  for (const Piece& piece : m_impl->added_tokens.split(text)) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
    } else {
      m_impl->encode_piece(piece.text, ids);
    }
  }
  if (add_special_tokens) ids.insert(ids.end(), m_impl->suffix_ids.begin(), m_impl->suffix_ids.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const std::int32_t id : ids) {
    if (const std::string* part = m_impl->bytes_of(id, skip_special)) bytes.append(*part);
  }
  return take_utf8(bytes, true);
}

std::size_t Tokenizer::vocab_size() const noexcept { return m_impl->tokens.size(); }

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  for (const IdOfString* ids : {&m_impl->added_ids, &m_impl->bpe.vocab()}) {
    if (const auto found = ids->find(token); found != ids->end()) return found->second;
  }
  return std::nullopt;
}

std::optional<std::string> Tokenizer::id_to_token(std::int32_t id) const {
  const auto token = m_impl->tokens.find(id);
  if (token == m_impl->tokens.end()) return std::nullopt;
  return token->second.spelling;
}

bool Tokenizer::is_special(std::int32_t id) const noexcept {
  const auto token = m_impl->tokens.find(id);
  return token != m_impl->tokens.end() && token->second.special;
}

std::string StreamDecoder::push(std::int32_t id) {
  if (const std::string* part = m_tokenizer.m_impl->bytes_of(id, m_skip_special)) m_pending.append(*part);
  return take_utf8(m_pending, false);
}

std::string StreamDecoder::flush() { return take_utf8(m_pending, true); }

}  // namespace ophis
