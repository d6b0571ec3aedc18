// The program `ophis` at a terminal.
#pragma once

#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <string>
#include <vector>

namespace ophis::test {

/// `ophis ARGUMENTS` with a terminal of its own, in which a test types.
class PseudoTerminal {
 public:
  explicit PseudoTerminal(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), OPHIS_PROGRAM);
    std::vector<char*> words;
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    m_child = forkpty(&m_terminal, nullptr, nullptr, nullptr);
    if (m_child == 0) {
      execv(words[0], words.data());
      _exit(127);
    }
  }
  ~PseudoTerminal() {
    if (m_child > 0) {
      kill(m_child, SIGKILL);
      waitpid(m_child, nullptr, 0);
    }
    close(m_terminal);
  }
  PseudoTerminal(const PseudoTerminal&) = delete;
  PseudoTerminal& operator=(const PseudoTerminal&) = delete;

  bool type(const std::string& text) {
    return write(m_terminal, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }

  /// What is shown until `end` is, from where the last call has stopped; everything so far if it does not
  /// come within half a minute.
  std::string read_until(const std::string& end) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    std::size_t found = m_shown.find(end);
    while (found == std::string::npos && std::chrono::steady_clock::now() < deadline && read_some()) {
      found = m_shown.find(end);
    }
    const std::size_t length = found == std::string::npos ? m_shown.size() : found + end.size();
    std::string text = m_shown.substr(0, length);
    m_shown.erase(0, length);
    return text;
  }

  /// The signal that ends the program, 0 if it ends by itself. Waits for it.
  int ending_signal() {
    while (read_some()) {
    }
    int status = 0;
    waitpid(m_child, &status, 0);
    m_child = -1;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }

 private:
  bool read_some() {
    pollfd waiting{m_terminal, POLLIN, 0};
    if (poll(&waiting, 1, 30'000) <= 0) return false;
    std::array<char, 4096> buffer;
    const ssize_t count = read(m_terminal, buffer.data(), buffer.size());
    if (count > 0) m_shown.append(buffer.data(), static_cast<std::size_t>(count));
    return count > 0;
  }

  pid_t m_child = -1;
  int m_terminal = -1;
  std::string m_shown;
};

}  // namespace ophis::test
