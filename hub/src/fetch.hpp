// Bringing a model from the hub into the cache.
#pragma once

#include <filesystem>
#include <string>

#include "hub/src/hub_cache.hpp"
#include "hub/src/hub_id.hpp"
#include "hub/src/settings.hpp"
#include "ophis/hub/resolve_model.hpp"

namespace ophis::hub {

/// The snapshot of the revision that the hub has now, with the files that `options` want. Throws as
/// resolve_model; Error(unsupported) in a build without libcurl.
std::filesystem::path fetch_model(const HubId& id, const std::string& revision, const ResolveOptions& options,
                                  const Settings& settings, const HubCache& cache);

}  // namespace ophis::hub
