#include "models/src/tokenizer/regex.hpp"

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "models/src/tokenizer/unicode.hpp"
#include "ophis/core/error.hpp"

namespace ophis::tokenizer {
namespace {

constexpr std::array<std::string_view, 37> general_categories{
    "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",
    "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
    "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};

constexpr std::array<std::string_view, 7> group_openers{"(?:", "(?i:", "(?>", "(?=", "(?!", "(?<=", "(?<!"};

// Unicode folds these pairs with ligatures and sharp s; Oniguruma does so in (?i:...), PCRE2 does not.
constexpr std::array<std::string_view, 5> pairs_that_fold{"ss", "st", "ff", "fi", "fl"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Rewrites a pattern for PCRE2, and refuses what PCRE2 would read otherwise than Oniguruma.
class Translator {
 public:
  Translator(std::string_view pattern, std::string_view where) : m_pattern(pattern), m_where(where) {}

  std::string run() {
    refuse_folding_pairs();
    while (m_at < m_pattern.size()) {
      const char c = m_pattern[m_at];
      if (c == '\\') {
        escape();
      } else if (m_in_class) {
        class_character(c);
      } else if (c == '[') {
        open_class();
      } else if (c == '(') {
        open_group();
      } else if (c == '{') {
        repetition();
      } else if (c == '^' || c == '$') {
        refuse(std::string("the anchor ") + c);
      } else {
        take(1);
      }
    }
    return std::move(m_out);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorCode::unsupported, m_where, ": ", what, " in the pattern ", in_quotes(m_pattern),
         " is not supported");
  }

  char peek(std::size_t offset) const {
    return m_at + offset < m_pattern.size() ? m_pattern[m_at + offset] : '\0';
  }

  void take(std::size_t count) {
    m_out.append(m_pattern.substr(m_at, count));
    m_at = std::min(m_at + count, m_pattern.size());
  }

  void escape() {
    const char c = peek(1);
    if (c == 's' || c == 'S') {
      m_out.append(c == 's' ? "\\p{White_Space}" : "\\P{White_Space}");
      m_at += 2;
    } else if (c == 'p' || c == 'P') {
      property();
    } else if (std::string_view("dDrntf").find(c) != std::string_view::npos) {
      take(2);
    } else if (c > ' ' && c < 0x7F && !is_letter(c) && !is_digit(c)) {
      take(2);
    } else {
      refuse("the escape " + std::string(m_pattern.substr(m_at, 2)));
    }
  }

  void property() {
    const std::size_t end = m_pattern.find('}', m_at);
    if (peek(2) != '{' || end == std::string_view::npos) refuse("a property without braces");
    const std::string_view name = m_pattern.substr(m_at + 3, end - m_at - 3);
    if (std::find(general_categories.begin(), general_categories.end(), name) == general_categories.end()) {
      refuse("the property " + std::string(m_pattern.substr(m_at, end + 1 - m_at)));
    }
    take(end + 1 - m_at);
  }

  void class_character(char c) {
    if (c == '[') refuse("a class within a class");
    if (c == '&' && peek(1) == '&') refuse("the intersection of classes");
    m_in_class = c != ']';
    take(1);
  }

  void open_class() {
    take(peek(1) == '^' ? 2 : 1);
    if (peek(0) == ']') refuse("a class that begins with ]");
    m_in_class = true;
  }

  void open_group() {
    if (peek(1) == '*') refuse("(*");
    if (peek(1) != '?') return take(1);
    for (const std::string_view opener : group_openers) {
      if (m_pattern.substr(m_at).starts_with(opener)) return take(opener.size());
    }
    refuse("the group " + std::string(m_pattern.substr(m_at, 4)));
  }

  void repetition() {
    std::size_t length = 1;
    const auto skip_digits = [&] {
      const std::size_t begin = length;
      while (is_digit(peek(length))) ++length;
      return length > begin;
    };
    bool valid = skip_digits();
    const bool is_range = peek(length) == ',';
    if (is_range) {
      ++length;
      skip_digits();
    }
    valid = valid && peek(length) == '}';
    const char suffix = peek(length + 1);
    if (!valid || suffix == '+' || (suffix == '?' && !is_range)) {
      refuse("the repetition " + std::string(m_pattern.substr(m_at, length + 2)));
    }
    take(length + 1);
  }

  void refuse_folding_pairs() const {
    if (m_pattern.find("(?i:") == std::string_view::npos) return;
    std::string lower(m_pattern);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    for (const std::string_view pair : pairs_that_fold) {
      if (lower.find(pair) != std::string::npos) refuse("'" + std::string(pair) + "' beside (?i:");
    }
  }

  std::string_view m_pattern, m_where;
  std::string m_out;
  std::size_t m_at = 0;
  bool m_in_class = false;
};

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return std::string(text.begin(), std::find(text.begin(), text.end(), PCRE2_UCHAR{0}));
}

std::shared_ptr<const pcre2_code> compile(const std::string& pattern, std::uint32_t options,
                                          std::string_view where) {
  const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (!context) fail(ErrorCode::out_of_memory, where, ": no memory to compile a pattern");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options,
                                   &error, &offset, context.get());
  if (code == nullptr) {
    fail(ErrorCode::corrupt_data, where, ": the pattern ", in_quotes(pattern), " is malformed at byte ",
         offset, ": ", message_of(error));
  }
  // Where machine code cannot be made, PCRE2 interprets the pattern.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return {code, [](const pcre2_code* c) { pcre2_code_free(const_cast<pcre2_code*>(c)); }};
}

pcre2_match_data* match_data() {
  using Owner = std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)>;
  thread_local const Owner data(pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  if (!data) fail(ErrorCode::out_of_memory, "no memory to match a pattern");
  return data.get();
}

}  // namespace

Regex::Regex(std::string_view pattern, Syntax syntax, std::string_view where) {
  constexpr std::uint32_t unicode = PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE;
  switch (syntax) {
    case Syntax::tokenizer_json:
      m_code = compile(Translator(pattern, where).run(), unicode, where);
      break;
    case Syntax::literal:
      m_code = compile(std::string(pattern), PCRE2_UTF | PCRE2_LITERAL, where);
      break;
    case Syntax::pcre2:
      m_code = compile(std::string(pattern), unicode, where);
      break;
  }
}

std::optional<Match> Regex::find(std::string_view text, std::size_t from) const {
  pcre2_match_data* data = match_data();
  const auto match = [&](std::uint32_t options) {
    return pcre2_match(m_code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       PCRE2_NO_UTF_CHECK | options, data, nullptr);
  };
  int result = match(0);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = match(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0)
    fail(ErrorCode::unsupported, "the tokenizer's pattern fails on this text: ", message_of(result));
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data);
  return Match{offsets[0], offsets[1]};
}

}  // namespace ophis::tokenizer
