// How C functions report failure: no exception leaves them.
#pragma once

#include <ophis.h>

#include "ophis/core/error.hpp"

namespace ophis::c {

/// A callback asked to stop.
struct Cancelled {
  const char* what;
};

/// The status of the exception being handled, whose text becomes ophis_last_error().
ophis_status handle_exception(const char* function) noexcept;

/// Runs a function's body.
template <class Body>
ophis_status guarded(const char* function, Body&& body) noexcept {
  try {
    body();
    return OPHIS_OK;
  } catch (...) {
    return handle_exception(function);
  }
}

/// What a pointer that must not be NULL points to.
template <class T>
T& require(T* pointer, const char* name) {
  OPHIS_REQUIRE(pointer != nullptr, name, " is NULL");
  return *pointer;
}

}  // namespace ophis::c
