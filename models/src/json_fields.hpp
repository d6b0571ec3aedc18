// Reads the fields of a JSON object by name, with the checks that every field needs, and keeps account of
// what was read.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "models/src/json.hpp"

namespace ophis {

/// A field that is absent or null keeps the default. Errors are Error(corrupt_data) that name origin and
/// field.
class JsonFields {
 public:
  JsonFields(const nlohmann::json& object, std::string origin);

  bool has(std::string_view name) const;
  /// The field itself, now counted as read; nullptr where absent or null.
  const nlohmann::json* find(std::string_view name);

  /// An integer in [low, high].
  std::int64_t integer(std::string_view name, std::int64_t default_value, std::int64_t low,
                       std::int64_t high);
  double number(std::string_view name, double default_value);
  bool boolean(std::string_view name, bool default_value);
  std::string text(std::string_view name, std::string_view default_value);
  /// Fields that are known and change nothing.
  void pass_over(std::initializer_list<std::string_view> names);

  /// Names that nobody read.
  std::vector<std::string> unread() const;
  /// "config.json: vocab_size", for messages.
  std::string label(std::string_view name) const;

 private:
  const nlohmann::json& m_object;
  std::string m_origin;
  std::set<std::string, std::less<>> m_read;
};

}  // namespace ophis
