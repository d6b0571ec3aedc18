#include "models/src/stop_strings.hpp"

#include <algorithm>
#include <utility>

namespace ophis {
namespace {

/// The length of the longest end of `text` that is a beginning of `string`.
std::size_t overlap(std::string_view text, std::string_view string) {
  for (std::size_t length = std::min(text.size(), string.size()); length > 0; --length) {
    if (text.substr(text.size() - length) == string.substr(0, length)) return length;
  }
  return 0;
}

}  // namespace

std::string StopStrings::push(std::string_view piece) {
  if (m_found) return {};
  m_held += piece;
  std::size_t first = std::string::npos, held = 0;
  for (const std::string& string : m_strings) {
    first = std::min(first, m_held.find(string));
    held = std::max(held, overlap(m_held, string));
  }
  m_found = first != std::string::npos;
  if (m_found) return std::exchange(m_held, {}).substr(0, first);
  std::string passed = m_held.substr(0, m_held.size() - held);
  m_held.erase(0, passed.size());
  return passed;
}

std::string StopStrings::flush() { return std::exchange(m_held, {}); }

}  // namespace ophis
