// One HTTP request at a time, through libcurl.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "ophis/core/error.hpp"

namespace ophis::hub {

/// No whole answer came.
class NetworkError : public Error {
 public:
  NetworkError(const std::string& message, bool reached)
      : Error(ErrorCode::io, message), m_reached(reached) {}
  /// Whether a server was there, so that asking once more may help.
  bool reached() const noexcept { return m_reached; }

 private:
  bool m_reached;
};

struct HttpRequest {
  std::string url = {};
  bool head = false;       ///< HEAD instead of GET
  std::string token = {};  ///< sent as a bearer token; empty: none
  std::uint64_t from = 0;  ///< the first byte that is wanted (Range)
};

struct HttpResponse {
  long status = 0;
  std::string redirect;  ///< where a redirect leads, as an absolute URL
  /// Only those that a hub's answer is judged by; the names in lower case.
  std::map<std::string, std::string, std::less<>> headers;

  /// Empty if there is no such header.
  std::string header(std::string_view name) const;
};

/// Scheme, host and port of a URL; the port is always given.
struct Origin {
  std::string scheme, host, port;

  bool operator==(const Origin&) const = default;
};

/// Throws Error(invalid_argument) for what is not a URL.
Origin origin_of(const std::string& url);

/// Keeps its connections open. One thread at a time uses it.
class HttpClient {
 public:
  /// Given the body of an answer with a status of 2xx, piece by piece. What it throws ends the request.
  using Sink = std::function<void(const HttpResponse&, std::string_view)>;

  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Sends one request; redirects are left to the caller. Throws NetworkError.
  HttpResponse send(const HttpRequest& request, const Sink& sink = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

}  // namespace ophis::hub
