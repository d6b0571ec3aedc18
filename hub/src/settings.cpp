#include "hub/src/settings.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <string_view>

namespace ophis::hub {
namespace {

namespace fs = std::filesystem;

/// The first of these variables that is set and not empty.
template <class... Names>
std::string variable(const Names*... names) {
  for (const char* name : {names...}) {
    const char* const value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return {};
}

fs::path home() {
  const std::string home = variable("HOME");
  return home.empty() ? fs::temp_directory_path() : fs::path(home);
}

/// A path of the environment; a "~" in front is the home folder.
fs::path expanded(const std::string& path) {
  if (path == "~") return home();
  return path.starts_with("~/") ? home() / path.substr(2) : fs::path(path);
}

fs::path path_variable(const fs::path& otherwise, const std::string& value) {
  return value.empty() ? otherwise : expanded(value);
}

bool is_true(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(space) - begin + 1));
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string find_token(const fs::path& hf_home) {
  std::string token = trimmed(variable("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"));
  if (token.empty() && !is_true(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
    token = trimmed(first_line(path_variable(hf_home / "token", variable("HF_TOKEN_PATH"))));
  }
  return token;
}

}  // namespace

Settings Settings::from_environment() {
  const fs::path caches = path_variable(home() / ".cache", variable("XDG_CACHE_HOME"));
  const fs::path hf_home = path_variable(caches / "huggingface", variable("HF_HOME"));
  Settings settings;
  settings.cache = path_variable(hf_home / "hub", variable("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"));
  settings.endpoint = variable("HF_ENDPOINT");
  if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  settings.token = find_token(hf_home);
  settings.offline = is_true(variable("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"));
  return settings;
}

}  // namespace ophis::hub
