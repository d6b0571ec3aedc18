// Test data that are not ours to ship.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>

namespace ophis::test {

/// A file in the folder that OPHIS_TEST_DATA names, by default `shared` beside the source tree; nothing if it
/// is not there, and the test that wants it says that it skips.
inline std::optional<std::filesystem::path> find_test_data(const char* file) {
  const char* const named = std::getenv("OPHIS_TEST_DATA");
  const std::filesystem::path folder =
      named ? std::filesystem::path(named) : std::filesystem::path(OPHIS_SOURCE_DIR) / ".." / "shared";
  const std::filesystem::path path = folder / file;
  return std::filesystem::exists(path) ? std::optional(path) : std::nullopt;
}

}  // namespace ophis::test
