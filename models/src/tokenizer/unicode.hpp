// UTF-8 and Unicode normalization.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ophis::tokenizer {

/// The number of bytes at the front of `bytes` that form complete, valid characters.
std::size_t valid_utf8_prefix(std::string_view bytes);

/// The length in bytes of the character at `at` of valid UTF-8.
std::size_t character_length(std::string_view text, std::size_t at);

/// Where the character that ends before `at` (greater than 0) of valid UTF-8 begins.
std::size_t character_before(std::string_view text, std::size_t at);

/// Takes the characters that are complete from the front of `bytes`, with U+FFFD for every maximal part of a
/// character that is broken (Unicode 15, section 3.9, "U+FFFD Substitution of Maximal Subparts"). An
/// unfinished character at the end stays in `bytes`, or becomes U+FFFD too if `final`.
std::string take_utf8(std::string& bytes, bool final);

/// Valid UTF-8 in single quotes for an error message, cut short if it is long.
std::string in_quotes(std::string_view text);

/// Whether nfc() would return `text` as it is for the trivial reason that it is ASCII.
bool is_ascii(std::string_view text);

/// Valid UTF-8 in Unicode normalization form C, by the tables of Unicode 9 as in the tokenizers library.
std::string nfc(std::string_view text);

}  // namespace ophis::tokenizer
