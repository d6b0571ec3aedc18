// Cuts text into the words that BPE works on.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/src/tokenizer/regex.hpp"
#include "models/src/tokenizer/tokenizer_file.hpp"

namespace ophis::tokenizer {

class PreTokenizer {
 public:
  /// Throws what Regex throws; `origin` names the file.
  PreTokenizer(const std::vector<SplitStep>& steps, std::string_view origin);

  /// The words of valid UTF-8 text, in order, none empty. They point into `text`, and into `storage` where a
  /// step puts a space before a piece.
  std::vector<std::string_view> split(std::string_view text, std::deque<std::string>& storage) const;

 private:
  struct Step {
    SplitStep spec;
    std::optional<Regex> regex;
  };

  std::vector<Step> m_steps;
};

}  // namespace ophis::tokenizer
