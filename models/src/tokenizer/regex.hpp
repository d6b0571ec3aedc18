// Regular expressions over UTF-8 text, in the dialect that tokenizer.json files are written in.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

struct pcre2_real_code_8;

namespace ophis::tokenizer {

struct Match {
  std::size_t begin, end;  // byte offsets
};

/// A compiled pattern. The `tokenizers` library runs patterns with Oniguruma, this class with PCRE2. It
/// accepts what both read alike: literals, classes with ranges, \p{..} of a general category, \s \S \d \D and
/// escaped characters, groups ( (?: (?i: (?> , look-around, | and greedy, lazy and possessive repetition.
/// White space is the Unicode property White_Space, as Oniguruma has it, which PCRE2's own \s is not.
class Regex {
 public:
  enum class Syntax {
    tokenizer_json,  ///< the dialect above
    literal,         ///< plain text
    pcre2            ///< PCRE2's own, for patterns of ours
  };

  /// Throws Error(unsupported) for a construct outside the above, Error(corrupt_data) for a malformed
  /// pattern; `where` names it in errors.
  Regex(std::string_view pattern, Syntax syntax, std::string_view where);

  /// The first match in valid UTF-8 `text` that begins at or after `from`, a character's beginning.
  /// Throws Error(unsupported) when the pattern needs more steps than PCRE2 allows.
  std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  std::shared_ptr<const pcre2_real_code_8> m_code;
};

}  // namespace ophis::tokenizer
