// What a tokenizer.json says, checked, in plain structures.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ophis::tokenizer {

/// A token that is cut out of the text before BPE.
struct AddedToken {
  std::string content;
  std::int32_t id;
  bool single_word;  ///< not where it touches a word character
  bool lstrip;       ///< takes the white space before it along
  bool rstrip;       ///< takes the white space after it along
  bool normalized;   ///< its normalized content is looked for in the normalized text
  bool special;      ///< decoding can leave it out
};

/// One step of the pre-tokenizer: cuts every piece of text into smaller ones.
struct SplitStep {
  bool add_space;                      ///< first put a space before a piece that begins with none
  std::optional<std::string> pattern;  ///< cut at the matches; none: leave the piece whole
  bool literal;                        ///< the pattern is plain text
  bool remove;  ///< drop the matches (`invert`: what lies between them) instead of keeping both
  bool invert;
};

struct BpeSpec {
  std::vector<std::pair<std::string, std::int32_t>> vocab;  ///< distinct spellings, distinct ids
  std::vector<std::pair<std::string, std::string>> merges;  ///< best first
  std::optional<std::string> unk_token;
  bool fuse_unk;       ///< a run of unknown bytes is one unk_token
  bool ignore_merges;  ///< a word that is a token is taken whole, whatever the merges say
};

struct TokenizerSpec {
  bool nfc = false;
  std::vector<AddedToken> added_tokens;
  std::vector<SplitStep> split_steps;
  BpeSpec bpe;
  std::vector<std::int32_t> prefix_ids, suffix_ids;  ///< around every text, from TemplateProcessing
};

/// Checks a parsed tokenizer.json. Errors name `origin` and the field: Error(corrupt_data) for what
/// contradicts the format, Error(unsupported) for what Ophis does not implement.
TokenizerSpec read_tokenizer_spec(const nlohmann::json& content, std::string_view origin);

}  // namespace ophis::tokenizer
