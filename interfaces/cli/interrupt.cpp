#include "interfaces/cli/interrupt.hpp"

namespace ophis::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;

extern "C" void note_interrupt(int) { interrupted = 1; }

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupted = 0;
  struct sigaction action {};
  action.sa_handler = note_interrupt;
  // The second time it is what it would be without us; reads and writes go on.
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigaction(SIGINT, &action, &m_before);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &m_before, nullptr); }

bool InterruptGuard::is_interrupted() const { return interrupted != 0; }

}  // namespace ophis::cli
