// The id of a model on the hub.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ophis::hub {

struct HubId {
  std::string owner, name;
  std::string revision;  ///< empty if the text has none

  std::string repo() const { return owner + '/' + name; }
};

/// "owner/name" or "owner/name@revision"; none if the text is not of that form.
std::optional<HubId> parse_hub_id(std::string_view text);

/// Whether a text can be a branch, tag or commit. Such a text is also a path below a folder that stays below
/// it.
bool is_revision(std::string_view text);

/// Whether a text is a plain name: letters, digits, "-", "_" and ".", not beginning with a ".". What a server
/// says is made part of a path only if it is one.
bool is_plain_name(std::string_view text);

}  // namespace ophis::hub
