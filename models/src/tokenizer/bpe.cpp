#include "models/src/tokenizer/bpe.hpp"

#include <mutex>
#include <queue>

#include "models/src/tokenizer/byte_level.hpp"
#include "models/src/tokenizer/unicode.hpp"
#include "ophis/core/error.hpp"

namespace ophis::tokenizer {
namespace {

// The cache never grows beyond 10000 words of 256 bytes.
constexpr std::size_t max_cached_words = 10000;
constexpr std::size_t max_cached_length = 256;

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

}  // namespace

// The finalizer of SplitMix64 (Steele et al., 2014): ids are small numbers, which would share buckets.
std::size_t Bpe::PairHash::operator()(std::uint64_t pair) const noexcept {
  pair = (pair ^ (pair >> 30)) * 0xBF58476D1CE4E5B9u;
  pair = (pair ^ (pair >> 27)) * 0x94D049BB133111EBu;
  return static_cast<std::size_t>(pair ^ (pair >> 31));
}

Bpe::Bpe(const BpeSpec& spec, std::string_view origin)
    : m_fuse_unk(spec.fuse_unk), m_ignore_merges(spec.ignore_merges) {
  m_vocab.reserve(spec.vocab.size());
  for (const auto& [spelling, id] : spec.vocab) m_vocab.emplace(spelling, id);
  load_alphabet(spec, origin);
  load_merges(spec, origin);
}

void Bpe::load_alphabet(const BpeSpec& spec, std::string_view origin) {
  bool complete = true;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const auto token = m_vocab.find(spell_bytes({&c, 1}));
    m_id_of_byte[byte] = token == m_vocab.end() ? none : token->second;
    complete = complete && token != m_vocab.end();
  }
  if (complete || !spec.unk_token) return;  // without an unk_token, bytes that have no token are left out
  const auto unk = m_vocab.find(*spec.unk_token);
  if (unk == m_vocab.end()) {
    fail(ErrorCode::corrupt_data, origin, ": model.unk_token ", in_quotes(*spec.unk_token),
         " is not in model.vocab");
  }
  m_unk = unk->second;
}

void Bpe::load_merges(const BpeSpec& spec, std::string_view origin) {
  m_merges.reserve(spec.merges.size());
  std::int32_t rank = 0;
  for (const auto& merge : spec.merges) {
    const auto id_of = [&](const std::string& token) {
      const auto found = m_vocab.find(token);
      if (found != m_vocab.end()) return found->second;
      fail(ErrorCode::corrupt_data, origin, ": model.merges[", rank, "] joins ", in_quotes(merge.first),
           " and ", in_quotes(merge.second), ", but ", in_quotes(token), " is not in model.vocab");
    };
    const std::int32_t left = id_of(merge.first);
    const std::int32_t right = id_of(merge.second);
    m_merges[pair_key(left, right)] = {rank, id_of(merge.first + merge.second)};
    ++rank;
  }
}

const Bpe::Merge* Bpe::find_merge(std::int32_t left, std::int32_t right) const {
  const auto found = m_merges.find(pair_key(left, right));
  return found == m_merges.end() ? nullptr : &found->second;
}

void Bpe::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (word.size() > max_cached_length) return encode_uncached(word, ids);
  {
    const std::shared_lock lock(m_cache_mutex);
    if (const auto hit = m_cache.find(word); hit != m_cache.end()) {
      ids.insert(ids.end(), hit->second.begin(), hit->second.end());
      return;
    }
  }
  std::vector<std::int32_t> word_ids;
  encode_uncached(word, word_ids);
  ids.insert(ids.end(), word_ids.begin(), word_ids.end());
  const std::unique_lock lock(m_cache_mutex);
  if (m_cache.size() < max_cached_words) m_cache.emplace(word, std::move(word_ids));
}

void Bpe::encode_uncached(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (m_ignore_merges) {
    if (const auto whole = m_vocab.find(spell_bytes(word)); whole != m_vocab.end()) {
      ids.push_back(whole->second);
      return;
    }
  }
  std::vector<Symbol> symbols = first_symbols(word);
  merge_symbols(symbols);
  for (const Symbol& symbol : symbols) {
    if (symbol.id != removed) ids.push_back(symbol.id);
  }
}

std::vector<Bpe::Symbol> Bpe::first_symbols(std::string_view word) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  bool after_unknown = false;
  for (const char c : word) {
    const std::int32_t id = m_id_of_byte[static_cast<std::uint8_t>(c)];
    const bool fused = id == none && (m_unk == none || (m_fuse_unk && after_unknown));
    if (fused) continue;
    const auto position = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({id == none ? m_unk : id, position - 1, position + 1});
    after_unknown = id == none;
  }
  if (!symbols.empty()) symbols.back().next = none;
  return symbols;
}

void Bpe::merge_symbols(std::vector<Symbol>& symbols) const {
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto push_pair = [&](std::int32_t left, std::int32_t right) {
    if (left == none || right == none) return;
    const Merge* merge = find_merge(symbols[left].id, symbols[right].id);
    if (merge != nullptr) queue.push({merge->rank, left, merge->id});
  };
  for (std::size_t i = 1; i < symbols.size(); ++i) {
    push_pair(static_cast<std::int32_t>(i - 1), static_cast<std::int32_t>(i));
  }
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.position];
    if (left.id == removed || left.next == none) continue;
    Symbol& right = symbols[left.next];
    // A candidate outlives its pair. As in the tokenizers library it still counts if what is there now merges
    // into the same symbol, although by another rule.
    const Merge* merge = find_merge(left.id, right.id);
    if (merge == nullptr || merge->id != best.id) continue;
    left.id = best.id;
    left.next = right.next;
    right.id = removed;
    if (left.next != none) symbols[left.next].previous = best.position;
    push_pair(left.previous, best.position);
    push_pair(best.position, left.next);
  }
}

}  // namespace ophis::tokenizer
