// What the program writes: text and JSON to stdout, progress and errors to stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "ophis/core/tensor.hpp"

namespace ophis::cli {

/// Keys stay in the order in which they are set.
using Json = nlohmann::ordered_json;

/// The program's exit codes.
enum ExitCode : int { exit_ok = 0, exit_failed = 1, exit_usage = 2 };

/// Writes to stdout at once. Throws Error(io) if that fails, e.g. on a full disk.
void print(std::string_view text);

/// One JSON document on stdout. Text that is not UTF-8 (file names) is shown with U+FFFD.
void print_json(const Json& document);

/// "ophis: MESSAGE" on stderr and, if the caller wants JSON, {"error": {"code", "message"}} on stdout.
void print_error(std::string_view code, std::string_view message, bool json);

/// A list of extents, e.g. [2, 37].
Json to_json(const Dims& shape);

/// "1.5 GiB", "312 KiB", "17 B".
std::string format_bytes(std::uint64_t bytes);

/// "1 234 567".
std::string format_count(std::int64_t count);

/// Text to stdout as it comes; the output ends with a line break.
class TextWriter {
 public:
  void write(std::string_view text) {
    if (text.empty()) return;
    m_last = text.back();
    print(text);
  }
  void finish() {
    if (m_last != '\n') write("\n");
  }

 private:
  char m_last = '\n';
};

/// Seconds since it was made.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - m_start).count();
  }

 private:
  std::chrono::steady_clock::time_point m_start = std::chrono::steady_clock::now();
};

/// One line on stderr that is written over and over; nothing if stderr is not a terminal.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(std::string_view text);
  /// "LABEL [=====     ] 50 % NOTE", at most ten times a second.
  void show(std::string_view label, std::uint64_t done, std::uint64_t total, std::string_view note = {});
  /// Wipes the line, so that other output can follow.
  void clear();

 private:
  bool m_enabled;
  bool m_shown = false;
  Stopwatch m_since_start;
  double m_last = 0.0;
};

}  // namespace ophis::cli
