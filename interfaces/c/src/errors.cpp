#include "interfaces/c/src/errors.hpp"

#include <new>
#include <string>
#include <string_view>

namespace ophis::c {
namespace {

thread_local std::string last_error;
/// Set where there was no memory for the text.
thread_local const char* last_resort = nullptr;

ophis_status status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return OPHIS_INVALID_ARGUMENT;
    case ErrorCode::unsupported:
      return OPHIS_UNSUPPORTED;
    case ErrorCode::not_found:
      return OPHIS_NOT_FOUND;
    case ErrorCode::corrupt_data:
      return OPHIS_CORRUPT_DATA;
    case ErrorCode::io:
      return OPHIS_IO;
    case ErrorCode::out_of_memory:
      return OPHIS_OUT_OF_MEMORY;
    case ErrorCode::internal:
      return OPHIS_INTERNAL;
  }
  return OPHIS_INTERNAL;
}

/// An op's own text starts with its name already, without the prefix.
ophis_status report(ophis_status status, std::string_view function, std::string_view text) noexcept {
  constexpr std::string_view prefix = "ophis_";
  const std::string_view name = function.substr(prefix.size());
  const bool named = text.substr(0, name.size()) == name && text.substr(name.size(), 2) == ": ";
  try {
    last_error = named ? prefix : function;
    last_error.append(named ? "" : ": ").append(text);
    last_resort = nullptr;
  } catch (const std::bad_alloc&) {
    last_resort = "there is not enough memory for the text of the error";
  }
  return status;
}

}  // namespace

ophis_status handle_exception(const char* function) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return report(status_of(error.code()), function, error.what());
  } catch (const Cancelled& cancelled) {
    return report(OPHIS_CANCELLED, function, cancelled.what);
  } catch (const std::bad_alloc&) {
    return report(OPHIS_OUT_OF_MEMORY, function, "there is not enough memory");
  } catch (const std::exception& error) {
    return report(OPHIS_INTERNAL, function, error.what());
  } catch (...) {
    return report(OPHIS_INTERNAL, function, "an exception of an unknown type");
  }
}

}  // namespace ophis::c

const char* ophis_last_error(void) {
  return ophis::c::last_resort ? ophis::c::last_resort : ophis::c::last_error.c_str();
}

const char* ophis_status_name(ophis_status status) {
  switch (status) {
    case OPHIS_OK:
      return "ok";
    case OPHIS_INVALID_ARGUMENT:
      return "invalid_argument";
    case OPHIS_UNSUPPORTED:
      return "unsupported";
    case OPHIS_NOT_FOUND:
      return "not_found";
    case OPHIS_CORRUPT_DATA:
      return "corrupt_data";
    case OPHIS_IO:
      return "io";
    case OPHIS_OUT_OF_MEMORY:
      return "out_of_memory";
    case OPHIS_INTERNAL:
      return "internal";
    case OPHIS_CANCELLED:
      return "cancelled";
    default:
      return "unknown";
  }
}
