#include "models/src/tokenizer/byte_level.hpp"

#include <array>
#include <cstdint>

#include "models/src/tokenizer/unicode.hpp"

namespace ophis::tokenizer {
namespace {

constexpr std::uint16_t first_substitute = 0x100;
constexpr std::size_t alphabet_end = first_substitute + 68;  // 68 bytes are not printable in Latin-1

struct Alphabet {
  std::array<std::uint16_t, 256> character{};     // of a byte
  std::array<std::int16_t, alphabet_end> byte{};  // of a character; -1: none
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  std::uint16_t substitute = first_substitute;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const auto character = printable ? static_cast<std::uint16_t>(byte) : substitute++;
    alphabet.character[byte] = character;
    alphabet.byte[character] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet alphabet = make_alphabet();

}  // namespace

std::string spell_bytes(std::string_view bytes) {
  std::string spelling;
  spelling.reserve(2 * bytes.size());
  for (const char c : bytes) {
    const unsigned character = alphabet.character[static_cast<std::uint8_t>(c)];
    if (character < 0x80) {
      spelling.push_back(static_cast<char>(character));
    } else {
      spelling.push_back(static_cast<char>(0xC0 | (character >> 6)));
      spelling.push_back(static_cast<char>(0x80 | (character & 0x3F)));
    }
  }
  return spelling;
}

std::optional<std::string> read_spelling(std::string_view spelling) {
  std::string bytes;
  bytes.reserve(spelling.size());
  for (std::size_t at = 0; at < spelling.size();) {
    const std::size_t length = character_length(spelling, at);
    if (length > 2) return std::nullopt;
    std::size_t character = static_cast<std::uint8_t>(spelling[at]);
    if (length == 2)
      character = (character & 0x1F) << 6 | (static_cast<std::uint8_t>(spelling[at + 1]) & 0x3F);
    if (character >= alphabet_end || alphabet.byte[character] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(alphabet.byte[character]));
    at += length;
  }
  return bytes;
}

}  // namespace ophis::tokenizer
