#include "interfaces/cli/output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "ophis/core/error.hpp"

namespace ophis::cli {
namespace {

std::string dump(const Json& document) {
  return document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail(ErrorCode::io, "cannot write to stdout: ", std::strerror(errno));
  }
}

void print_json(const Json& document) { print(dump(document)); }

void print_error(std::string_view code, std::string_view message, bool json) {
  fmt::print(stderr, "ophis: {}\n", message);
  // If stdout does not take it, stderr has said it already.
  if (json) std::fputs(dump({{"error", {{"code", code}, {"message", message}}}}).c_str(), stdout);
}

Json to_json(const Dims& shape) {
  Json list = Json::array();
  for (const std::int64_t extent : shape) list.push_back(extent);
  return list;
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array units{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024.0;
  std::size_t unit = 0;
  for (; value >= 1024.0 && unit + 1 < units.size(); ++unit) value /= 1024.0;
  return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string format_count(std::int64_t count) {
  std::string text = fmt::format("{}", count);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<std::size_t>(at), 1, ' ');
  }
  return text;
}

ProgressLine::ProgressLine() : m_enabled(isatty(STDERR_FILENO) == 1) {}

void ProgressLine::show(std::string_view text) {
  if (!m_enabled) return;
  m_shown = true;
  fmt::print(stderr, "\r\033[K{}", text);
  std::fflush(stderr);
}

void ProgressLine::show(std::string_view label, std::uint64_t done, std::uint64_t total,
                        std::string_view note) {
  constexpr double interval_seconds = 0.1;
  constexpr int width = 30;
  const double now = m_since_start.seconds();
  if (!m_enabled || total == 0 || now - m_last < interval_seconds) return;
  m_last = now;
  const double part = static_cast<double>(done) / static_cast<double>(total);
  const std::string bar(static_cast<std::size_t>(part * width), '=');
  show(fmt::format("{} [{:<{}}] {:3.0f} % {}", label, bar, width, part * 100.0, note));
}

void ProgressLine::clear() {
  if (!m_shown) return;
  m_shown = false;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
}

}  // namespace ophis::cli
