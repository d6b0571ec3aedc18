// One model on the hub: which of its files there are, and their content.
//
// A file is asked for at <endpoint>/<owner>/<name>/resolve/<revision>/<file>. Small files are sent; for large
// ones the hub redirects to where they are stored, with the headers X-Linked-Etag and X-Linked-Size.
// X-Repo-Commit says which commit a revision is, X-Error-Code why there is no answer.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "hub/src/http.hpp"
#include "hub/src/hub_id.hpp"
#include "hub/src/settings.hpp"

namespace ophis::hub {

/// A file of the model; the names are safe as parts of a path.
struct RemoteFile {
  std::string name;
  std::string etag;
  std::uint64_t bytes = 0;
};

/// Errors name the model, the file and what can be done. Throws NetworkError, Error(not_found) for a model or
/// a revision that is not there, Error(io) where access is refused, Error(corrupt_data) for answers that a
/// hub does not give.
class RemoteModel {
 public:
  RemoteModel(const HubId& id, std::string revision, Settings settings);

  /// The file as the hub describes it; none if the model has no such file.
  std::optional<RemoteFile> find(const std::string& file);

  /// The commit that all files are of; empty until an answer has named it.
  const std::string& commit() const noexcept { return m_commit; }

  /// Sends the content from byte `from` on to `sink`, or, where the server cannot, from byte 0: `begin` is
  /// told which, before. Returns at the end of the answer, which may come early.
  void read(const RemoteFile& file, std::uint64_t from, const std::function<void(std::uint64_t)>& begin,
            const std::function<void(std::string_view)>& sink);

 private:
  std::string url_of(const std::string& file) const;
  std::string follow(const std::string& file, const std::string& from, const HttpResponse& response) const;
  HttpResponse ask(HttpRequest request, const HttpClient::Sink& sink = {});
  HttpResponse ask_patiently(const HttpRequest& request);
  void note_commit(const std::string& file, const HttpResponse& response);
  [[noreturn]] void refuse(const std::string& file, const HttpResponse& response) const;
  [[noreturn]] void fail_file(ErrorCode code, const std::string& file, const std::string& what) const;

  HubId m_id;
  std::string m_revision, m_commit;
  Settings m_settings;
  Origin m_origin;  ///< of the endpoint: who may see the token
  HttpClient m_client;
};

}  // namespace ophis::hub
