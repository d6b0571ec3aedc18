// Which files a model consists of.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "ophis/hub/resolve_model.hpp"

namespace ophis::hub {

enum class Presence { there, absent, unknown };

struct FoundFiles {
  std::string missing;   ///< what is needed and is not there, for a message; empty: the model can be used
  bool complete = true;  ///< nothing is unknown that might be there
};

/// Asks `find` for one file after the other, those that are needed first, where of several that would do the
/// first is taken. `path_of` gives the path of a file that is there. Throws what they throw, and
/// Error(corrupt_data) for an index of shards that is damaged or names files elsewhere.
FoundFiles find_model_files(ModelFiles wanted, const std::function<Presence(const std::string&)>& find,
                            const std::function<std::filesystem::path(const std::string&)>& path_of);

}  // namespace ophis::hub
