#include "models/src/tokenizer/unicode.hpp"

#include <algorithm>
#include <cstdint>

namespace ophis::tokenizer {
namespace {

constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

std::uint8_t byte_at(std::string_view text, std::size_t at) { return static_cast<std::uint8_t>(text[at]); }

struct Lead {
  std::size_t length;        // bytes of the character, 0: no character begins with this byte
  std::uint8_t low = 0x80;   // the range of the second byte, narrower than the others' where it has
  std::uint8_t high = 0xBF;  // to keep out overlong forms, surrogates and code points above 0x10FFFF
};

// Table 3-7 of the Unicode standard.
Lead classify_lead(std::uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

struct Scan {
  std::size_t taken;  // bytes of the character, or of the maximal part of it that is there, at least 1
  enum class Kind { complete, broken, unfinished } kind;
};

// Looks at the character that begins at `at`.
Scan scan_character(std::string_view bytes, std::size_t at) {
  const Lead lead = classify_lead(byte_at(bytes, at));
  if (lead.length == 0) return {1, Scan::Kind::broken};
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (at + i == bytes.size()) return {i, Scan::Kind::unfinished};
    const std::uint8_t byte = byte_at(bytes, at + i);
    const bool fits = i == 1 ? byte >= lead.low && byte <= lead.high : byte >= 0x80 && byte <= 0xBF;
    if (!fits) return {i, Scan::Kind::broken};
  }
  return {lead.length, Scan::Kind::complete};
}

}  // namespace

std::size_t valid_utf8_prefix(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const Scan scan = scan_character(bytes, at);
    if (scan.kind != Scan::Kind::complete) break;
    at += scan.taken;
  }
  return at;
}

std::size_t character_length(std::string_view text, std::size_t at) {
  return classify_lead(byte_at(text, at)).length;
}

std::size_t character_before(std::string_view text, std::size_t at) {
  do --at;
  while (at > 0 && (byte_at(text, at) & 0xC0) == 0x80);
  return at;
}

std::string take_utf8(std::string& bytes, bool final) {
  std::string text;
  text.reserve(bytes.size());
  std::size_t at = 0;
  while (at < bytes.size()) {
    const Scan scan = scan_character(bytes, at);
    if (scan.kind == Scan::Kind::unfinished && !final) break;
    text.append(scan.kind == Scan::Kind::complete ? std::string_view(bytes).substr(at, scan.taken)
                                                  : replacement_character);
    at += scan.taken;
  }
  bytes.erase(0, at);
  return text;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 80;
  std::string out = "'";
  if (text.size() <= longest) return out.append(text).append("'");
  return out.append(text.substr(0, character_before(text, longest + 1))).append("...'");
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<std::uint8_t>(c) < 0x80; });
}

}  // namespace ophis::tokenizer
