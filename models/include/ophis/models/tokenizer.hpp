// Text to token ids and back, as a Hugging Face tokenizer.json says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ophis {

/// A byte-level BPE tokenizer read from a Hugging Face tokenizer.json or from a GGUF file. It gives the ids
/// and the texts that the `tokenizers` library gives. Whatever a file asks for that is not implemented is an
/// error when the file is read. Copies are cheap and share one immutable state; every function may be called
/// from several threads at once.
class Tokenizer {
 public:
  /// Reads a tokenizer.json, or the one in the folder `path`; or that of a GGUF file, or of the one in the
  /// folder if it has no tokenizer.json.
  /// Throws Error(not_found | io), Error(corrupt_data) for a file that contradicts its format and
  /// Error(unsupported) for a setting that is not implemented; the text names the file and the field.
  static Tokenizer from_file(const std::filesystem::path& path);

  /// The same from the content of a tokenizer.json; `origin` names the source in errors.
  static Tokenizer from_json(std::string_view json, std::string_view origin = "tokenizer.json");

  /// The ids of UTF-8 text of at most 512 MiB. `add_special_tokens`: with the tokens that the file's
  /// post-processor puts before and after a text; most byte-level tokenizers have none.
  /// Throws Error(invalid_argument) if the text is not valid UTF-8, with the offset of the first bad byte.
  std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens = true) const;

  /// The text of the ids, always valid UTF-8: bytes that form no character become U+FFFD, one for each
  /// maximal part of a character. Ids that name no token, such as the padding rows of an embedding, give no
  /// text. Throws Error(invalid_argument) for a negative id.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const;

  /// The number of tokens, with the added ones. Ids may have gaps.
  std::size_t vocab_size() const noexcept;

  /// The id of a token as the file spells it (a space is "Ġ" in byte-level tokens, not in added ones).
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  /// The spelling of a token in the file.
  std::optional<std::string> id_to_token(std::int32_t id) const;
  /// Whether `id` is an added token marked special, which decode can leave out.
  bool is_special(std::int32_t id) const noexcept;

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : m_impl(std::move(impl)) {}

  std::shared_ptr<const Impl> m_impl;
};

/// Decodes ids one at a time, for text that is shown while it is generated. The pieces that push() and
/// flush() return are valid UTF-8 and together equal decode() of all the ids.
class StreamDecoder {
 public:
  /// With skip_special special tokens give no text.
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special = false)
      : m_tokenizer(std::move(tokenizer)), m_skip_special(skip_special) {}

  /// The text that is complete with this id. The bytes of an unfinished character are held back.
  /// Throws Error(invalid_argument) for a negative id.
  std::string push(std::int32_t id);

  /// The text still held back: an unfinished character becomes U+FFFD. The decoder can then be used anew.
  std::string flush();

 private:
  Tokenizer m_tokenizer;
  bool m_skip_special;
  std::string m_pending;  // at most the first 3 bytes of a character
};

}  // namespace ophis
