// Text that ends before the first of some strings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ophis {

/// Passes text on piece by piece until a stop string is complete in it. What may be the beginning of one is
/// held back until that is known.
class StopStrings {
 public:
  /// The strings are not empty.
  explicit StopStrings(std::vector<std::string> strings) : m_strings(std::move(strings)) {}

  /// The text that can be passed on with this piece.
  std::string push(std::string_view piece);
  /// The text held back, when no more will come.
  std::string flush();
  /// Whether a stop string was found; push() then takes no more.
  bool found() const noexcept { return m_found; }

 private:
  std::vector<std::string> m_strings;
  std::string m_held;
  bool m_found = false;
};

}  // namespace ophis
