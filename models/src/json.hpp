// Reading the JSON files of checkpoints.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace ophis {

/// The whole file as bytes. Throws Error(not_found | io), and Error(corrupt_data) if it is larger than
/// `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes = std::size_t{1} << 30);

/// Parses JSON, and what Python's json module writes beside it: the bare words Infinity, -Infinity and NaN
/// become objects {"__float__": "Infinity"}, as transformers writes them, for json_number() to read. `origin`
/// names the source in errors. Throws Error(corrupt_data).
nlohmann::json parse_json(std::string_view text, std::string_view origin);

/// parse_json of a file's content.
nlohmann::json read_json_file(const std::filesystem::path& path);

/// The value for a message: a number, string or word as it is, anything larger by its kind ("an object").
std::string describe_json(const nlohmann::json& value);

/// A JSON number, or a {"__float__": "..."} object, as a double. Throws Error(corrupt_data) that names
/// `what`.
double json_number(const nlohmann::json& value, std::string_view what);

/// Whether bytes are valid UTF-8, as JSON demands.
bool is_utf8(std::string_view text);

/// Text from a file for an error message: as a JSON string, invalid UTF-8 replaced, cut after `max_bytes`.
std::string json_quoted(std::string_view text, std::size_t max_bytes = 200);

}  // namespace ophis
