#include "models/src/json_fields.hpp"

#include "ophis/core/error.hpp"

namespace ophis {

JsonFields::JsonFields(const nlohmann::json& object, std::string origin)
    : m_object(object), m_origin(std::move(origin)) {
  if (!object.is_object())
    fail(ErrorCode::corrupt_data, m_origin, " should be a JSON object, got ", object.type_name());
}

bool JsonFields::has(std::string_view name) const {
  const auto found = m_object.find(name);
  return found != m_object.end() && !found->is_null();
}

const nlohmann::json* JsonFields::find(std::string_view name) {
  m_read.emplace(name);
  return has(name) ? &*m_object.find(name) : nullptr;
}

std::int64_t JsonFields::integer(std::string_view name, std::int64_t default_value, std::int64_t low,
                                 std::int64_t high) {
  const nlohmann::json* const value = find(name);
  if (value == nullptr) return default_value;
  const bool fits = value->is_number_integer() &&
                    !(value->is_number_unsigned() && value->get<std::uint64_t>() > std::uint64_t{INT64_MAX});
  if (!fits || value->get<std::int64_t>() < low || value->get<std::int64_t>() > high) {
    fail(ErrorCode::corrupt_data, label(name), " should be an integer from ", low, " to ", high, ", got ",
         describe_json(*value));
  }
  return value->get<std::int64_t>();
}

double JsonFields::number(std::string_view name, double default_value) {
  const nlohmann::json* const value = find(name);
  return value ? json_number(*value, label(name)) : default_value;
}

bool JsonFields::boolean(std::string_view name, bool default_value) {
  const nlohmann::json* const value = find(name);
  if (value == nullptr) return default_value;
  if (!value->is_boolean())
    fail(ErrorCode::corrupt_data, label(name), " should be true or false, got ", describe_json(*value));
  return value->get<bool>();
}

std::string JsonFields::text(std::string_view name, std::string_view default_value) {
  const nlohmann::json* const value = find(name);
  if (value == nullptr) return std::string(default_value);
  if (!value->is_string())
    fail(ErrorCode::corrupt_data, label(name), " should be a string, got ", describe_json(*value));
  return value->get<std::string>();
}

void JsonFields::pass_over(std::initializer_list<std::string_view> names) {
  m_read.insert(names.begin(), names.end());
}

std::vector<std::string> JsonFields::unread() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : m_object.items()) {
    if (!m_read.contains(name)) names.push_back(name);
  }
  return names;
}

std::string JsonFields::label(std::string_view name) const { return detail::concat(m_origin, ": ", name); }

}  // namespace ophis
