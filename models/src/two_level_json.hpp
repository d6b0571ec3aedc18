// Reading JSON of two levels, {section: {key: value}}, from files that may be hostile: the header of
// safetensors and the index of a sharded checkpoint. No tree is built, so memory stays in proportion to the
// text.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ophis {

struct JsonLeaf {
  enum class Kind { text, integers, other };
  Kind kind = Kind::other;
  std::string text;  ///< of Kind::text
  std::vector<std::uint64_t>
      integers;  ///< of Kind::integers: an array of non-negative integers, at most max_integers
  static constexpr std::size_t max_integers = 64;
};

struct JsonSection {
  bool is_object = false;
  std::map<std::string, JsonLeaf> values;  ///< of an object
};

/// Calls `on_section(name, section)` for every key of the outer object, in the file's order. Throws
/// Error(corrupt_data) that names `origin` on invalid JSON, on a root that is not an object and on keys given
/// twice.
void read_two_level_json(std::string_view text, std::string_view origin,
                         const std::function<void(const std::string&, JsonSection&)>& on_section);

}  // namespace ophis
