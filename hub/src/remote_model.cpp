#include "hub/src/remote_model.hpp"

#include <charconv>
#include <chrono>
#include <thread>

namespace ophis::hub {
namespace {

constexpr int max_redirects = 8;
constexpr int max_tries = 3;
/// Hashes have at most 64 digits; the etags of other servers may be longer.
constexpr std::size_t longest_etag = 128;

bool is_redirect(const HttpResponse& response) {
  return response.status / 100 == 3 && !response.redirect.empty();
}

/// The server is there, but not able to answer now.
bool is_busy(long status) { return status == 408 || status == 429 || status / 100 == 5; }

/// A number of bytes in a header; none if the text is not one.
std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return bytes;
}

/// An etag without quotes and without the mark of a weak one.
std::string plain_etag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return std::string(etag);
}

/// What a server says, fit for a terminal.
std::string shown(std::string text) {
  constexpr std::size_t longest = 200;
  if (text.size() > longest) text = text.substr(0, longest) + "...";
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

/// Redirects lead to encrypted connections; a server without encryption may lead to itself.
bool may_follow(const Origin& from, const Origin& to) {
  if (to.scheme == "https") return true;
  return from.scheme == "http" && to.scheme == "http" &&
         (from.host == to.host || (is_loopback(from.host) && is_loopback(to.host)));
}

/// The first byte of a "bytes 100-199/200", if it is a part of a whole of `total` bytes.
std::optional<std::uint64_t> range_begin(std::string_view range, std::uint64_t total) {
  if (!range.starts_with("bytes ")) return std::nullopt;
  range.remove_prefix(6);
  const std::size_t dash = range.find('-'), slash = range.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos) return std::nullopt;
  const std::string_view whole = range.substr(slash + 1);
  if (whole != "*" && parse_bytes(whole) != total) return std::nullopt;
  return parse_bytes(range.substr(0, dash));
}

}  // namespace

RemoteModel::RemoteModel(const HubId& id, std::string revision, Settings settings)
    : m_id(id), m_revision(std::move(revision)), m_settings(std::move(settings)) {
  m_origin = origin_of(m_settings.endpoint);
  OPHIS_REQUIRE(m_origin.scheme == "https" || m_origin.scheme == "http", "HF_ENDPOINT is '",
                m_settings.endpoint, "', but must begin with https:// or http://");
  OPHIS_REQUIRE(m_settings.token.find_first_of("\r\n") == std::string::npos,
                "HF_TOKEN has more than one line");
}

std::string RemoteModel::url_of(const std::string& file) const {
  std::string revision = m_commit.empty() ? m_revision : m_commit;
  for (std::size_t at = 0; (at = revision.find('/', at)) != std::string::npos;)
    revision.replace(at, 1, "%2F");
  return m_settings.endpoint + '/' + m_id.repo() + "/resolve/" + revision + '/' + file;
}

void RemoteModel::fail_file(ErrorCode code, const std::string& file, const std::string& what) const {
  fail(code, file, " of '", m_id.repo(), "' at ", m_settings.endpoint, ": ", what);
}

/// The address that a redirect leads to. Throws Error(corrupt_data) if it must not be followed.
std::string RemoteModel::follow(const std::string& file, const std::string& from,
                                const HttpResponse& response) const {
  if (!may_follow(origin_of(from), origin_of(response.redirect))) {
    fail_file(ErrorCode::corrupt_data, file,
              "the server redirects to '" + shown(response.redirect) + "', which is not https");
  }
  return response.redirect;
}

HttpResponse RemoteModel::ask(HttpRequest request, const HttpClient::Sink& sink) {
  // Where files are stored is another server, which must not see the token.
  if (origin_of(request.url) == m_origin) request.token = m_settings.token;
  try {
    HttpResponse response = m_client.send(request, sink);
    if (!is_busy(response.status)) return response;
    throw NetworkError("the server is not available now (status " + std::to_string(response.status) + ")",
                       true);
  } catch (const NetworkError& error) {
    throw NetworkError(
        detail::concat("could not reach ", origin_of(request.url).host, " for '", m_id.repo(),
                       "': ", error.what(),
                       "; check the connection, HTTPS_PROXY and HF_ENDPOINT, or name a folder with "
                       "the model's files"),
        error.reached());
  }
}

HttpResponse RemoteModel::ask_patiently(const HttpRequest& request) {
  for (int tries = 1;; ++tries) {
    try {
      return ask(request);
    } catch (const NetworkError& error) {
      if (!error.reached() || tries == max_tries) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(500 * tries));
  }
}

void RemoteModel::note_commit(const std::string& file, const HttpResponse& response) {
  const std::string commit = response.header("x-repo-commit");
  if (commit.empty()) return;
  if (!is_plain_name(commit)) {
    fail_file(ErrorCode::corrupt_data, file, "X-Repo-Commit '" + shown(commit) + "' is not a commit");
  }
  if (!m_commit.empty() && commit != m_commit) {
    fail_file(ErrorCode::corrupt_data, file,
              "the server answers with commit " + commit + " instead of " + m_commit);
  }
  m_commit = commit;
}

void RemoteModel::refuse(const std::string& file, const HttpResponse& response) const {
  const std::string code = response.header("x-error-code");
  const std::string page = m_settings.endpoint + '/' + m_id.repo();
  const std::string with_token = m_settings.token.empty() ? "set HF_TOKEN to a token that may read it"
                                                          : "the token that was sent may not read it";
  if (code == "GatedRepo") {
    fail(ErrorCode::io, "'", m_id.repo(), "' is gated: ask for access at ", page, ", then ", with_token);
  }
  if (code == "RevisionNotFound") {
    fail(ErrorCode::not_found, "'", m_id.repo(), "' at ", m_settings.endpoint, " has no revision '",
         m_revision, "'");
  }
  if (code == "RepoNotFound" || response.status == 401) {
    fail(ErrorCode::not_found, "there is no folder '", m_id.repo(), "', and ", m_settings.endpoint,
         " has no such model or keeps it private: check the spelling; if it is private, ", with_token);
  }
  if (response.status == 403) {
    fail(ErrorCode::io, m_settings.endpoint, " refuses access to '", m_id.repo(),
         "' (status 403): ", with_token);
  }
  fail_file(ErrorCode::io, file,
            "the server answers with status " + std::to_string(response.status) + ' ' +
                shown(response.header("x-error-message")));
}

std::optional<RemoteFile> RemoteModel::find(const std::string& file) {
  RemoteFile found{file, {}, 0};
  std::string url = url_of(file);
  std::string bytes;
  for (int hop = 0;; ++hop) {
    const HttpResponse response = ask_patiently({.url = url, .head = true});
    if (origin_of(url) == m_origin) note_commit(file, response);
    const std::string error = response.header("x-error-code");
    if (response.status == 404 && (error.empty() || error == "EntryNotFound")) return std::nullopt;
    const bool redirect = is_redirect(response);
    if (!redirect && response.status != 200) refuse(file, response);
    // What the hub itself says of a file counts more than what its storage says.
    if (found.etag.empty()) found.etag = plain_etag(response.header("x-linked-etag"));
    if (bytes.empty()) bytes = response.header("x-linked-size");
    if (!redirect) {
      if (found.etag.empty()) found.etag = plain_etag(response.header("etag"));
      if (bytes.empty()) bytes = response.header("content-length");
      break;
    }
    if (!found.etag.empty() && !bytes.empty()) break;
    if (hop == max_redirects) fail_file(ErrorCode::corrupt_data, file, "too many redirects");
    url = follow(file, url, response);
  }
  if (m_commit.empty()) {
    fail_file(ErrorCode::corrupt_data, file,
              "the answer does not name a commit (X-Repo-Commit), so that this is no Hugging Face hub; check "
              "HF_ENDPOINT");
  }
  if (!is_plain_name(found.etag) || found.etag.size() > longest_etag) {
    fail_file(ErrorCode::corrupt_data, file,
              "its ETag is '" + shown(found.etag) + "', which cannot name a file");
  }
  const std::optional<std::uint64_t> size = parse_bytes(bytes);
  if (!size)
    fail_file(ErrorCode::corrupt_data, file, "its size is '" + shown(bytes) + "', which is not a number");
  found.bytes = *size;
  return found;
}

void RemoteModel::read(const RemoteFile& file, std::uint64_t from,
                       const std::function<void(std::uint64_t)>& begin,
                       const std::function<void(std::string_view)>& sink) {
  // What is there does not go with what the server has: begin anew.
  const auto begin_anew = [&] {
    begin(0);
    throw NetworkError("the server has no bytes of " + file.name + " from " + std::to_string(from) + " on",
                       true);
  };
  bool begun = false;
  const auto take = [&](const HttpResponse& response, std::string_view piece) {
    if (!begun) {
      const bool is_part = response.status == 206;
      if (is_part && range_begin(response.header("content-range"), file.bytes) != from) begin_anew();
      begin(is_part ? from : 0);
      begun = true;
    }
    sink(piece);
  };
  std::string url = url_of(file.name);
  for (int hop = 0;; ++hop) {
    const HttpResponse response = ask({.url = url, .from = from}, take);
    if (response.status / 100 == 2) return;
    if (response.status == 416) begin_anew();
    if (!is_redirect(response)) refuse(file.name, response);
    if (hop == max_redirects) fail_file(ErrorCode::corrupt_data, file.name, "too many redirects");
    url = follow(file.name, url, response);
  }
}

}  // namespace ophis::hub
