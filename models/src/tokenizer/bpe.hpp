// Byte-pair encoding of one word.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/src/tokenizer/tokenizer_file.hpp"

namespace ophis::tokenizer {

/// Lets maps with std::string keys be searched with a std::string_view.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};
using IdOfString = std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>>;

/// Byte-level BPE (Sennrich et al., 2016): the bytes of a word are its first symbols; then, as long as there
/// is one, the neighbouring pair with the best rank, the leftmost of equals, is replaced by its merged
/// symbol.
class Bpe {
 public:
  /// Throws Error(corrupt_data) that names `origin` if merges or unk_token name tokens that are not there.
  Bpe(const BpeSpec& spec, std::string_view origin);

  /// Appends the ids of a word, given as plain bytes. Takes O(n log n) time in its length.
  /// May be called from several threads at once.
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const;

  const IdOfString& vocab() const noexcept { return m_vocab; }

 private:
  struct Merge {
    std::int32_t rank, id;
  };
  struct Symbol {
    std::int32_t id;  // removed: it is part of a merged symbol to its left
    std::int32_t previous, next;
  };
  struct Candidate {
    std::int32_t rank, position, id;
    bool operator>(const Candidate& other) const noexcept {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  struct PairHash {
    std::size_t operator()(std::uint64_t pair) const noexcept;
  };
  static constexpr std::int32_t none = -1, removed = -2;

  void load_alphabet(const BpeSpec& spec, std::string_view origin);
  void load_merges(const BpeSpec& spec, std::string_view origin);
  const Merge* find_merge(std::int32_t left, std::int32_t right) const;
  void encode_uncached(std::string_view word, std::vector<std::int32_t>& ids) const;
  std::vector<Symbol> first_symbols(std::string_view word) const;
  void merge_symbols(std::vector<Symbol>& symbols) const;

  IdOfString m_vocab;
  std::array<std::int32_t, 256> m_id_of_byte;  // none: no token
  std::unordered_map<std::uint64_t, Merge, PairHash> m_merges;
  std::int32_t m_unk = none;
  bool m_fuse_unk, m_ignore_merges;

  mutable std::shared_mutex m_cache_mutex;
  mutable std::unordered_map<std::string, std::vector<std::int32_t>, StringHash, std::equal_to<>> m_cache;
};

}  // namespace ophis::tokenizer
