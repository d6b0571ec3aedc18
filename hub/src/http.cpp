#include "hub/src/http.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>

namespace ophis::hub {
namespace {

constexpr std::array<std::string_view, 8> kept_headers{"content-length", "content-range",   "etag",
                                                       "x-error-code",   "x-error-message", "x-linked-etag",
                                                       "x-linked-size",  "x-repo-commit"};
constexpr std::size_t max_header_bytes = 4096;
constexpr long connect_timeout_seconds = 10;
/// A transfer that stands still for so long has been cut.
constexpr long stall_timeout_seconds = 30;

struct CurlDeleter {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(char* text) const { curl_free(text); }
};

/// What one request's callbacks share.
struct Transfer {
  CURL* curl;
  HttpResponse response;
  const HttpClient::Sink& sink;
  std::exception_ptr thrown;
};

std::string trimmed_lower(std::string_view text, bool lower) {
  constexpr std::string_view space = " \t\r\n";
  const std::size_t begin = std::min(text.find_first_not_of(space), text.size());
  const std::size_t end = text.find_last_not_of(space) + 1;
  std::string result(text.substr(begin, std::max(begin, end) - begin));
  if (lower) {
    std::transform(result.begin(), result.end(), result.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  }
  return result;
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, size * count);
  // A proxy's answer, or a provisional one, may come before the one that counts.
  if (line.starts_with("HTTP/")) transfer.response.headers.clear();
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || line.size() > max_header_bytes) return line.size();
  const std::string name = trimmed_lower(line.substr(0, colon), true);
  if (std::find(kept_headers.begin(), kept_headers.end(), name) != kept_headers.end()) {
    transfer.response.headers[name] = trimmed_lower(line.substr(colon + 1), false);
  }
  return line.size();
}

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &transfer.response.status);
  if (transfer.response.status / 100 != 2 || !transfer.sink) return size * count;
  try {
    transfer.sink(transfer.response, {data, size * count});
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 0;  // which ends the transfer
  }
  return size * count;
}

/// Certificates of a company's proxy, as other programs are told of them.
const char* certificate_file() {
  for (const char* name : {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* const path = std::getenv(name);
    if (path != nullptr && *path != '\0') return path;
  }
  return nullptr;
}

bool was_reached(CURLcode code) {
  return code == CURLE_GOT_NOTHING || code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR ||
         code == CURLE_SEND_ERROR || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_HTTP2 ||
         code == CURLE_HTTP2_STREAM;
}

std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
  const std::unique_ptr<char, CurlDeleter> owner(text);
  return trimmed_lower(text, true);
}

}  // namespace

std::string HttpResponse::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

Origin origin_of(const std::string& url) {
  const std::unique_ptr<CURLU, CurlDeleter> parts(curl_url());
  const CURLUcode code = curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), CURLU_NON_SUPPORT_SCHEME);
  OPHIS_REQUIRE(code == CURLUE_OK, "'", url, "' is not a URL: ", curl_url_strerror(code));
  return {part_of(parts.get(), CURLUPART_SCHEME), part_of(parts.get(), CURLUPART_HOST),
          part_of(parts.get(), CURLUPART_PORT)};
}

struct HttpClient::Impl {
  std::unique_ptr<CURL, CurlDeleter> curl;
};

HttpClient::HttpClient() : m_impl(std::make_unique<Impl>()) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started == CURLE_OK) m_impl->curl.reset(curl_easy_init());
  if (!m_impl->curl) fail(ErrorCode::internal, "libcurl could not be started");
}

HttpClient::~HttpClient() = default;

HttpResponse HttpClient::send(const HttpRequest& request, const Sink& sink) {
  CURL* const curl = m_impl->curl.get();
  curl_easy_reset(curl);  // connections stay
  std::array<char, CURL_ERROR_SIZE> message{};
  Transfer transfer{curl, {}, sink, nullptr};
  std::unique_ptr<curl_slist, CurlDeleter> headers;
  if (!request.token.empty()) {
    headers.reset(curl_slist_append(nullptr, ("Authorization: Bearer " + request.token).c_str()));
  }
  const std::string range = std::to_string(request.from) + "-";
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "ophis/" OPHIS_PROJECT_VERSION);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  if (request.from > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  if (const char* file = certificate_file()) curl_easy_setopt(curl, CURLOPT_CAINFO, file);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, connect_timeout_seconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, stall_timeout_seconds);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);  // there may be other threads
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message.data());
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  const CURLcode code = curl_easy_perform(curl);
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  if (code != CURLE_OK) {
    throw NetworkError(message[0] != '\0' ? message.data() : curl_easy_strerror(code), was_reached(code));
  }
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer.response.status);
  char* redirect = nullptr;
  curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &redirect);
  if (redirect != nullptr) transfer.response.redirect = redirect;
  return std::move(transfer.response);
}

}  // namespace ophis::hub
