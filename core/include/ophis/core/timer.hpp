// How long work takes.
#pragma once

#include <functional>

#include "ophis/core/exec_context.hpp"

namespace ophis {

/// Seconds that a context's device is busy with the ops that `work` gives it. On a GPU it is the time between
/// two marks in the queue, without that of the host, if the queue is not empty when they are set. Waits for
/// the end.
double seconds_of(ExecContext& exec, const std::function<void()>& work);

}  // namespace ophis
