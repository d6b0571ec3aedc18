#include "ophis/hub/resolve_model.hpp"

#include <optional>
#include <system_error>

#include "hub/src/fetch.hpp"
#include "hub/src/hub_cache.hpp"
#include "hub/src/hub_id.hpp"
#include "hub/src/model_files.hpp"
#include "hub/src/settings.hpp"
#include "ophis/core/error.hpp"

namespace ophis {
namespace {

namespace fs = std::filesystem;
using namespace hub;

std::string choose_revision(const std::string& in_name, const std::string& in_options) {
  OPHIS_REQUIRE(in_name.empty() || in_options.empty() || in_name == in_options, "the revision is '",
                in_options, "', but the name says '", in_name, "'");
  std::string revision = in_name.empty() ? in_options : in_name;
  if (revision.empty()) revision = "main";
  OPHIS_REQUIRE(is_revision(revision), "'", revision,
                "' is not a revision: the name of a branch or tag, or a commit");
  return revision;
}

FoundFiles find_in_cache(const HubCache& cache, const std::string& commit, ModelFiles wanted) {
  const auto find = [&](const std::string& file) {
    if (cache.has(commit, file)) return Presence::there;
    return cache.lacks(commit, file) ? Presence::absent : Presence::unknown;
  };
  return find_model_files(wanted, find,
                          [&](const std::string& file) { return cache.snapshot(commit) / file; });
}

[[noreturn]] void fail_offline(const HubId& id, const std::string& revision, const HubCache& cache,
                               const std::string& missing) {
  fail(ErrorCode::not_found, "there is no folder '", id.repo(), "', the cache ", cache.folder().string(),
       " has no ", missing, " of revision ", revision,
       ", and HF_HUB_OFFLINE forbids to download: unset it, or name a folder with the model's files");
}

}  // namespace

bool is_hub_id(std::string_view name) { return parse_hub_id(name).has_value(); }

fs::path resolve_model(const std::string& name, const ResolveOptions& options) {
  std::error_code error;
  if (!name.empty() && fs::exists(name, error)) {
    OPHIS_REQUIRE(options.revision.empty(), "'", name, "' is a folder or file, which has no revision '",
                  options.revision, "'");
    return name;
  }
  const std::optional<HubId> id = parse_hub_id(name);
  if (!id) {
    fail(ErrorCode::not_found, "there is no folder '", name,
         "', nor is that the id of a model on the hub (owner/name or owner/name@revision)");
  }
  const std::string revision = choose_revision(id->revision, options.revision);
  const Settings settings = Settings::from_environment();
  const HubCache cache(settings.cache, *id);
  const std::optional<std::string> commit = cache.commit_of(revision);
  const FoundFiles cached =
      commit ? find_in_cache(cache, *commit, options.files) : FoundFiles{"files", false};
  const bool usable = commit && cached.missing.empty();
  if (usable && (settings.offline || (cached.complete && !options.refresh))) return cache.snapshot(*commit);
  if (settings.offline) fail_offline(*id, revision, cache, cached.missing);
  // Of a model that can be used already, only what it can do without is looked for, at the commit that is
  // there.
  const bool only_complete = usable && !options.refresh;
  try {
    return fetch_model(*id, only_complete ? *commit : revision, options, settings, cache);
  } catch (const Error&) {
    if (only_complete) return cache.snapshot(*commit);
    throw;
  }
}

}  // namespace ophis
