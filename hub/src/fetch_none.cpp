// A build without libcurl.
#include "hub/src/fetch.hpp"
#include "ophis/core/error.hpp"

namespace ophis::hub {

std::filesystem::path fetch_model(const HubId& id, const std::string&, const ResolveOptions&, const Settings&,
                                  const HubCache& cache) {
  fail(ErrorCode::unsupported, "'", id.repo(), "' is neither a folder nor whole in the cache ",
       cache.folder().string(),
       ", and this build of Ophis cannot download it: it was made without libcurl or OpenSSL");
}

}  // namespace ophis::hub
