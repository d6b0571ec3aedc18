// Loops over the CPU's threads, for code that is not a Kokkos kernel: libraries called on tiles, conversions,
// copies.
#pragma once

#include <cstdint>
#include <functional>

namespace ophis {

/// Runs body(item, thread) for every item in [0, count), in any order and in parallel, and waits. Items are
/// handed out one by one; `thread`, below num_threads(), is used by one item at a time. The body must not
/// throw.
void for_each_on_host(std::int64_t count, const std::function<void(std::int64_t item, int thread)>& body);

/// Runs body(begin, end) for ranges that make up [0, count), at most one a thread, all of about the same
/// length, in parallel, and waits: for work that streams through memory. The body must not throw.
void for_ranges_on_host(std::int64_t count,
                        const std::function<void(std::int64_t begin, std::int64_t end)>& body);

}  // namespace ophis
