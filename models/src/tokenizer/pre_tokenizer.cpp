#include "models/src/tokenizer/pre_tokenizer.hpp"

#include "models/src/tokenizer/unicode.hpp"

namespace ophis::tokenizer {
namespace {

// Appends what `regex` makes of one piece. An empty match cuts, too.
void split_piece(std::string_view piece, const Regex& regex, const SplitStep& spec,
                 std::vector<std::string_view>& out) {
  const auto keep = [&](std::size_t begin, std::size_t end, bool is_match) {
    if (begin < end && !(spec.remove && is_match != spec.invert))
      out.push_back(piece.substr(begin, end - begin));
  };
  std::size_t done = 0;
  std::size_t from = 0;
  while (from < piece.size()) {
    const std::optional<Match> match = regex.find(piece, from);
    if (!match) break;
    keep(done, match->begin, false);
    keep(match->begin, match->end, true);
    done = from = match->end;
    if (match->begin == match->end && from < piece.size()) from += character_length(piece, from);
  }
  keep(done, piece.size(), false);
}

}  // namespace

PreTokenizer::PreTokenizer(const std::vector<SplitStep>& steps, std::string_view origin) {
  const std::string where = std::string(origin) + ": pre_tokenizer";
  for (const SplitStep& step : steps) {
    std::optional<Regex> regex;
    if (step.pattern) {
      regex.emplace(*step.pattern, step.literal ? Regex::Syntax::literal : Regex::Syntax::tokenizer_json,
                    where);
    }
    m_steps.push_back({step, std::move(regex)});
  }
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text,
                                                  std::deque<std::string>& storage) const {
  std::vector<std::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  for (const Step& step : m_steps) {
    std::vector<std::string_view> next;
    for (std::string_view piece : pieces) {
      if (step.spec.add_space && piece.front() != ' ') piece = storage.emplace_back(" ").append(piece);
      if (step.regex) {
        split_piece(piece, *step.regex, step.spec, next);
      } else {
        next.push_back(piece);
      }
    }
    pieces = std::move(next);
  }
  return pieces;
}

}  // namespace ophis::tokenizer
