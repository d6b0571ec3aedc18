// How Ophis reports failure: one exception type, and one macro that checks what comes in.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace ophis {

/// Why a call failed; the codes of the C interface and of JSON output are the same.
enum class ErrorCode {
  invalid_argument,  ///< a value, shape, dtype or flag that the callee does not take
  unsupported,       ///< valid, but this build or device cannot do it
  not_found,         ///< a file, tensor or key that should be there is not
  corrupt_data,      ///< a file whose content contradicts its format
  io,                ///< the operating system refused to read or write
  out_of_memory,     ///< an allocation failed
  internal           ///< a broken invariant: a bug in Ophis
};

/// The name of a code as the C API and the JSON output spell it, e.g. "invalid_argument".
const char* to_string(ErrorCode code) noexcept;

/// The only exception that Ophis throws on purpose. what() names the operation, the argument, what came
/// and what was wanted.
class Error : public std::runtime_error {
 public:
  /// An exception with this text; fail() and OPHIS_REQUIRE make one from parts.
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), m_code(code) {}
  /// What kind of failure it is.
  ErrorCode code() const noexcept { return m_code; }

 private:
  ErrorCode m_code;
};

namespace detail {

/// Streams every part into one string.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

}  // namespace detail

/// Throws Error(code) with the streamed parts as its text.
template <class... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  throw Error(code, detail::concat(parts...));
}

}  // namespace ophis

/// Throws Error(invalid_argument) with the streamed parts unless `condition` holds. It stays in release
/// builds.
#define OPHIS_REQUIRE(condition, ...)                                   \
  do {                                                                  \
    if (!(condition)) [[unlikely]]                                      \
      ::ophis::fail(::ophis::ErrorCode::invalid_argument, __VA_ARGS__); \
  } while (false)
