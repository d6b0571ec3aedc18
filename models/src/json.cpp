#include "models/src/json.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <system_error>

#include "ophis/core/error.hpp"

namespace ophis {
namespace {

constexpr std::array<std::string_view, 3> bare_words{"-Infinity", "Infinity", "NaN"};

/// Wraps the bare words that stand outside strings.
std::string wrap_bare_words(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (in_string) {
      const std::size_t taken = c == '\\' && i + 1 < text.size() ? 2 : 1;
      out.append(text.substr(i, taken));
      in_string = c != '"';
      i += taken;
      continue;
    }
    std::string_view word;
    for (const std::string_view candidate : bare_words) {
      if (text.substr(i, candidate.size()) == candidate) word = candidate;
    }
    if (!word.empty()) {
      out.append("{\"__float__\":\"").append(word).append("\"}");
      i += word.size();
    } else {
      in_string = c == '"';
      out.push_back(c);
      ++i;
    }
  }
  return out;
}

}  // namespace

std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) fail(ErrorCode::not_found, "no file ", path.string());
  if (!std::filesystem::is_regular_file(path, error))
    fail(ErrorCode::io, path.string(), " is not a regular file");
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) fail(ErrorCode::io, "could not read ", path.string(), ": ", error.message());
  if (size > max_bytes) {
    fail(ErrorCode::corrupt_data, path.string(), " has ", size, " bytes; at most ", max_bytes,
         " are expected");
  }
  std::string text(static_cast<std::size_t>(size), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file) fail(ErrorCode::io, "could not read ", path.string());
  return text;
}

nlohmann::json parse_json(std::string_view text, std::string_view origin) {
  try {
    return nlohmann::json::parse(wrap_bare_words(text));
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::corrupt_data, origin, " is not valid JSON: ", error.what());
  }
}

nlohmann::json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
}

double json_number(const nlohmann::json& value, std::string_view what) {
  if (value.is_number()) return value.get<double>();
  if (value.is_object() && value.size() == 1 && value.contains("__float__")) {
    const nlohmann::json& word = value["__float__"];
    if (word == "Infinity") return std::numeric_limits<double>::infinity();
    if (word == "-Infinity") return -std::numeric_limits<double>::infinity();
    if (word == "NaN") return std::numeric_limits<double>::quiet_NaN();
  }
  fail(ErrorCode::corrupt_data, what, " should be a number, got ", describe_json(value));
}

std::string describe_json(const nlohmann::json& value) {
  constexpr std::size_t longest_text = 80, longest_list = 4;
  if (value.is_string()) return json_quoted(value.get_ref<const std::string&>(), longest_text);
  if (value.is_primitive()) return value.dump();
  const bool is_short_list =
      value.is_array() && value.size() <= longest_list &&
      std::all_of(value.begin(), value.end(), [](const auto& v) { return v.is_primitive(); });
  if (!is_short_list) return std::string("an ") + value.type_name();
  std::string list;
  for (const nlohmann::json& element : value) list += (list.empty() ? "" : ", ") + describe_json(element);
  return "[" + list + "]";
}

bool is_utf8(std::string_view text) {
  try {
    static_cast<void>(nlohmann::json(text).dump());
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

std::string json_quoted(std::string_view text, std::size_t max_bytes) {
  const std::string shown(text.substr(0, max_bytes));
  const std::string tail = text.size() > max_bytes ? "..." : "";
  return nlohmann::json(shown + tail).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace ophis
