// The byte-level alphabet: every byte has a printable character that stands for it in tokens.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ophis::tokenizer {

/// The spelling of `bytes` in the byte-level alphabet of GPT-2: bytes that are printable in Latin-1 stand for
/// themselves, the others, in order, for U+0100, U+0101, ...
std::string spell_bytes(std::string_view bytes);

/// The bytes that a spelling (valid UTF-8) stands for; nothing if it has characters outside the alphabet.
std::optional<std::string> read_spelling(std::string_view spelling);

}  // namespace ophis::tokenizer
