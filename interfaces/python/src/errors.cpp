#include "interfaces/python/src/bindings.hpp"

#include "ophis/core/error.hpp"

namespace nb = nanobind;

namespace ophis::python {
namespace {

const char* class_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "InvalidArgumentError";
    case ErrorCode::unsupported:
      return "UnsupportedError";
    case ErrorCode::not_found:
      return "NotFoundError";
    case ErrorCode::corrupt_data:
      return "CorruptDataError";
    case ErrorCode::io:
      return "FileAccessError";
    case ErrorCode::out_of_memory:
      return "OutOfMemoryError";
    case ErrorCode::internal:
      break;
  }
  return "InternalError";
}

}  // namespace

void bind_errors(nb::module_&) {
  nb::register_exception_translator([](const std::exception_ptr& exception, void*) {
    try {
      std::rethrow_exception(exception);
    } catch (const Error& error) {
      const nb::object type = nb::module_::import_("ophis.errors").attr(class_name(error.code()));
      PyErr_SetString(type.ptr(), error.what());
    }
  });
}

}  // namespace ophis::python
