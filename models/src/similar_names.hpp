// Suggestions for a name that was not found.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ophis {

/// Up to three of `names` that differ from `wanted` in few letters, nearest first.
std::vector<std::string> most_similar(std::string_view wanted, std::span<const std::string> names);

}  // namespace ophis
