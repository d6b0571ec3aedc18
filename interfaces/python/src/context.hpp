// Where the ops of the calling thread run.
#pragma once

#include <cstdint>
#include <optional>

#include "ophis/core/exec_context.hpp"

namespace ophis::python {

/// The calling thread's context on a device and, on a GPU, on a stream (a cudaStream_t as an integer; none or
/// 0 is the legacy default stream, which is also what DLPack means where no stream is named). It is kept
/// until the thread ends, so that its workspace is reused.
ExecContext& context_on(Device device, std::optional<std::uintptr_t> stream = {});

/// The same on a stream of its own, where work can be recorded and repeated. It does not wait for other
/// streams.
ExecContext& own_context(Device device);

}  // namespace ophis::python
