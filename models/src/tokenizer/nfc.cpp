// Unicode normalization form C.
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/src/tokenizer/unicode.hpp"
#include "ophis/core/error.hpp"

namespace ophis::tokenizer {
namespace {

using CodePoint = utf8proc_int32_t;

struct Range {
  CodePoint first, last;
};

// Characters that normalization leaves where they are: nothing is composed or put in order across them.
// The tokenizers library normalizes by the tables of Unicode 9, so these are the combining marks and the
// parts of compositions that later versions added (of Unicode 18's, with unassigned characters between), and
// U+11A7, which composes with nothing but which utf8proc 2.8 drops after a Hangul syllable.
constexpr std::array<Range, 29> untouched{
    {{0x5C8, 0x5C9},     {0x7FD, 0x7FD},     {0x897, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
     {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x11A7, 0x11A7},   {0x1715, 0x1715},
     {0x1ABF, 0x1AF0},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x105C9, 0x105E4}, {0x10D24, 0x10D6D},
     {0x10EAB, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x11382, 0x113D0}, {0x1145E, 0x1145E},
     {0x11839, 0x1183A}, {0x11930, 0x11A99}, {0x11D42, 0x11F42}, {0x1611E, 0x1612F}, {0x16D63, 0x16D6A},
     {0x16FF0, 0x16FF1}, {0x1D127, 0x1D128}, {0x1D250, 0x1D281}, {0x1E08F, 0x1E6F5}}};

bool is_untouched(CodePoint c) {
  const auto range = std::lower_bound(untouched.begin(), untouched.end(), c,
                                      [](const Range& r, CodePoint value) { return r.last < value; });
  return range != untouched.end() && c >= range->first;
}

// Appends the canonical decomposition, marks not yet in order.
void decompose(CodePoint c, std::vector<CodePoint>& out) {
  constexpr auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  std::array<CodePoint, 16> parts;  // the longest has 4
  int boundary_state = 0;
  const auto count = utf8proc_decompose_char(c, parts.data(), parts.size(), options, &boundary_state);
  if (count < 0 || count > static_cast<utf8proc_ssize_t>(parts.size())) {
    fail(ErrorCode::internal, "could not decompose the character ", c);
  }
  out.insert(out.end(), parts.begin(), parts.begin() + count);
}

// Puts each run of marks into canonical order. utf8proc_decompose would do it too, in quadratic time.
void sort_marks(std::span<CodePoint> code_points) {
  const auto combining_class = [](CodePoint c) { return utf8proc_get_property(c)->combining_class; };
  const auto by_class = [&](CodePoint a, CodePoint b) { return combining_class(a) < combining_class(b); };
  const auto is_mark = [&](CodePoint c) { return combining_class(c) != 0; };
  for (auto run = code_points.begin(); run != code_points.end();) {
    run = std::find_if(run, code_points.end(), is_mark);
    const auto end = std::find_if_not(run, code_points.end(), is_mark);
    std::stable_sort(run, end, by_class);
    run = end;
  }
}

// Orders and composes decomposed characters, appends them to `out` and clears them.
void compose(std::vector<CodePoint>& code_points, std::string& out) {
  constexpr auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  sort_marks(code_points);
  const auto size = static_cast<utf8proc_ssize_t>(code_points.size());
  const auto count = utf8proc_normalize_utf32(code_points.data(), size, options);
  if (count < 0) fail(ErrorCode::internal, "normalization failed: ", utf8proc_errmsg(count));
  code_points.resize(static_cast<std::size_t>(count));
  for (const CodePoint c : code_points) {
    std::array<utf8proc_uint8_t, 4> bytes;
    const auto length = utf8proc_encode_char(c, bytes.data());
    out.append(bytes.begin(), bytes.begin() + length);
  }
  code_points.clear();
}

}  // namespace

std::string nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::vector<CodePoint> code_points;  // since the last untouched character
  for (std::size_t at = 0; at < text.size();) {
    CodePoint c = 0;
    const auto length = static_cast<utf8proc_ssize_t>(character_length(text, at));
    utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at), length, &c);
    if (c < 0) fail(ErrorCode::internal, "normalization of text that is not valid UTF-8");
    if (is_untouched(c)) {
      compose(code_points, out);
      out.append(text.substr(at, static_cast<std::size_t>(length)));
    } else {
      decompose(c, code_points);
    }
    at += static_cast<std::size_t>(length);
  }
  compose(code_points, out);
  return out;
}

}  // namespace ophis::tokenizer
