// Reading the source of a weight piece by piece, so that it does not lie in memory beside what is made of it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "ophis/models/parameters.hpp"

namespace ophis {

/// Calls body(begin, end) for ranges of at most a MiB, or a row, that make up [0, rows), in parallel, and
/// releases the bytes of each. `bytes` are those of all rows, one row after the other; `release` may be
/// empty. The body must not throw.
void for_each_piece(std::int64_t rows, std::span<const std::byte> bytes, const ReleaseFn& release,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body);

/// The same along a parameter's first axis. One that is not dense is not released.
void for_each_piece(const Parameter& parameter,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body);

}  // namespace ophis
