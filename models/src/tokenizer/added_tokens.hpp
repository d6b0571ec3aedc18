// Finds added tokens in text.
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/src/tokenizer/tokenizer_file.hpp"

namespace ophis::tokenizer {

/// Text to be encoded, or an added token.
struct Piece {
  std::string_view text;  ///< empty for a token
  std::int32_t id;        ///< -1 for text
};

/// A set of added tokens, looked for from left to right, the longest first.
class AddedTokens {
 public:
  /// Adds a token that stands where `pattern` (not empty) is in the text. Of equal patterns the first one
  /// counts.
  void add(std::string_view pattern, const AddedToken& token);

  /// Cuts valid UTF-8 text into tokens and the text between them, of which no piece is empty.
  std::vector<Piece> split(std::string_view text) const;

 private:
  struct Token {
    std::int32_t id;
    bool single_word, lstrip, rstrip;
  };
  struct Found {
    const Token* token;
    std::size_t begin, end;
  };

  Found find(std::string_view text, std::size_t from) const;

  // A trie over bytes: transitions by node * 256 + byte, node 0 is the root.
  std::unordered_map<std::uint64_t, std::uint32_t> m_next;
  std::unordered_map<std::uint32_t, Token> m_token_of_node;
  std::uint32_t m_nodes = 1;
  std::bitset<256> m_first_bytes;
};

}  // namespace ophis::tokenizer
