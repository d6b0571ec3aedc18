#include "models/src/tokenizer/added_tokens.hpp"

#include <algorithm>

#include "models/src/tokenizer/regex.hpp"
#include "models/src/tokenizer/unicode.hpp"

namespace ophis::tokenizer {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t at) { return static_cast<std::uint8_t>(text[at]); }

bool is_one(const Regex& characters, std::string_view text, std::size_t at) {
  return characters.find(text.substr(at, character_length(text, at)), 0).has_value();
}

bool is_space(std::string_view text, std::size_t at) {
  static const Regex spaces(R"(\p{White_Space})", Regex::Syntax::pcre2, "white space");
  return is_one(spaces, text, at);
}

// \w of Unicode Technical Standard 18, annex C.
bool is_word(std::string_view text, std::size_t at) {
  static const Regex word(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])", Regex::Syntax::pcre2,
                          "word characters");
  return is_one(word, text, at);
}

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin > 0 && is_word(text, character_before(text, begin))) ||
         (end < text.size() && is_word(text, end));
}

std::size_t skip_spaces_left(std::string_view text, std::size_t at, std::size_t limit) {
  while (at > limit) {
    const std::size_t before = character_before(text, at);
    if (!is_space(text, before)) break;
    at = before;
  }
  return at;
}

std::size_t skip_spaces_right(std::string_view text, std::size_t at) {
  while (at < text.size() && is_space(text, at)) at += character_length(text, at);
  return at;
}

}  // namespace

void AddedTokens::add(std::string_view pattern, const AddedToken& token) {
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto [next, is_new] = m_next.try_emplace(std::uint64_t{node} * 256 + byte_at(pattern, i), m_nodes);
    m_nodes += is_new;
    node = next->second;
  }
  m_first_bytes.set(byte_at(pattern, 0));
  m_token_of_node.try_emplace(node, Token{token.id, token.single_word, token.lstrip, token.rstrip});
}

// The leftmost token that begins at or after `from`, the longest of those that begin there.
AddedTokens::Found AddedTokens::find(std::string_view text, std::size_t from) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!m_first_bytes[byte_at(text, begin)]) continue;
    Found found{nullptr, begin, begin};
    std::uint32_t node = 0;
    for (std::size_t at = begin; at < text.size(); ++at) {
      const auto next = m_next.find(std::uint64_t{node} * 256 + byte_at(text, at));
      if (next == m_next.end()) break;
      node = next->second;
      const auto token = m_token_of_node.find(node);
      if (token != m_token_of_node.end()) found = {&token->second, begin, at + 1};
    }
    if (found.token != nullptr) return found;
  }
  return {nullptr, text.size(), text.size()};
}

std::vector<Piece> AddedTokens::split(std::string_view text) const {
  std::vector<Piece> pieces;
  std::size_t done = 0;        // what lies before it is in `pieces`
  std::size_t spaces_end = 0;  // the last token with rstrip took the white space up to here
  for (Found found = find(text, 0); found.token != nullptr; found = find(text, found.end)) {
    const Token& token = *found.token;
    if (token.single_word && touches_word(text, found.begin, found.end)) continue;
    std::size_t begin = found.begin;
    std::size_t end = found.end;
    if (token.lstrip) begin = std::max(done, skip_spaces_left(text, begin, done));
    if (token.rstrip) spaces_end = end = skip_spaces_right(text, std::max(end, spaces_end));
    if (begin >= end) continue;  // the token before has taken all of it
    if (done < begin) pieces.push_back({text.substr(done, begin - done), -1});
    pieces.push_back({{}, token.id});
    done = end;
  }
  if (done < text.size()) pieces.push_back({text.substr(done), -1});
  return pieces;
}

}  // namespace ophis::tokenizer
