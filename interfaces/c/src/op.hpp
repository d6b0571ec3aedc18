// What the C functions of every op do.
#pragma once

#include "interfaces/c/src/handles.hpp"
#include "interfaces/c/src/members.hpp"

namespace ophis::c {

/// Calls a C++ op with the arguments that a caller gives.
template <class Args, class Op>
ophis_status run_op(const char* function, ophis_context* context, const Args* args, Op op) noexcept {
  return guarded(function, [&] {
    ExecContext& exec = require(context, "context").exec;
    op(exec, to_cpp(args));
  });
}

template <class Args>
ophis_status init_args(const char* function, Args* args, std::size_t size) noexcept {
  return guarded(function, [&] { write_defaults(args, size); });
}

}  // namespace ophis::c
