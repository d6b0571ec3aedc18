#include "hub/src/hub_id.hpp"

#include <algorithm>

namespace ophis::hub {
namespace {

constexpr std::size_t longest_part = 96;
constexpr std::size_t longest_revision = 200;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.';
}

/// The hub's rules for the names of owners and models.
bool is_id_part(std::string_view part) {
  const auto is_edge = [](char c) { return c != '-' && c != '.'; };
  return is_plain_name(part) && part.size() <= longest_part && is_edge(part.front()) &&
         is_edge(part.back()) && part.find("--") == std::string_view::npos &&
         part.find("..") == std::string_view::npos && !part.ends_with(".git");
}

}  // namespace

bool is_plain_name(std::string_view text) {
  return !text.empty() && text.front() != '.' && std::all_of(text.begin(), text.end(), is_name_character);
}

bool is_revision(std::string_view text) {
  if (text.empty() || text.size() > longest_revision) return false;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('/', begin), text.size());
    if (!is_plain_name(text.substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  return true;
}

std::optional<HubId> parse_hub_id(std::string_view text) {
  HubId id;
  if (const std::size_t at = text.find('@'); at != std::string_view::npos) {
    id.revision = text.substr(at + 1);
    if (!is_revision(id.revision)) return std::nullopt;
    text = text.substr(0, at);
  }
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  id.owner = text.substr(0, slash);
  id.name = text.substr(slash + 1);
  if (!is_id_part(id.owner) || !is_id_part(id.name)) return std::nullopt;
  return id;
}

}  // namespace ophis::hub
