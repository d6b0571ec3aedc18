#include "models/src/similar_names.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace ophis {
namespace {

constexpr std::size_t max_name_bytes =
    128;  // the distance takes time in proportion to the product of the lengths
constexpr std::size_t max_suggestions = 3;

/// The number of letters to insert, delete or replace (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

}  // namespace

std::vector<std::string> most_similar(std::string_view wanted, std::span<const std::string> names) {
  std::vector<std::pair<std::size_t, const std::string*>> near;
  const std::size_t max_distance = wanted.size() / 3 + 1;
  if (wanted.size() > max_name_bytes) return {};
  for (const std::string& name : names) {
    const std::size_t longer = std::max(name.size(), wanted.size());
    if (longer > max_name_bytes || longer - std::min(name.size(), wanted.size()) > max_distance) continue;
    const std::size_t distance = edit_distance(wanted, name);
    if (distance <= max_distance) near.emplace_back(distance, &name);
  }
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> result;
  for (std::size_t i = 0; i < std::min(near.size(), max_suggestions); ++i) result.push_back(*near[i].second);
  return result;
}

}  // namespace ophis
