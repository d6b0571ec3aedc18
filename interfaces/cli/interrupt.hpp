// Ctrl-C as a question that a loop asks, while it is running.
#pragma once

#include <csignal>

namespace ophis::cli {

/// While it lives, the first SIGINT is only noted, and the next one ends the program. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool is_interrupted() const;

 private:
  struct sigaction m_before;
};

}  // namespace ophis::cli
