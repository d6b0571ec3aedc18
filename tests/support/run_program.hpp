// Runs the program `ophis` as a user does.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.hpp"

namespace ophis::test {

struct ProgramResult {
  int exit_code = -1;  ///< -1: ended by a signal
  std::string out, err;

  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

/// One word of a shell's command line.
inline std::string shell_quoted(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// `ophis ARGUMENTS < input`. `environment` goes before the program, e.g. "OMP_NUM_THREADS=1".
inline ProgramResult run_ophis(const std::vector<std::string>& arguments, const std::string& input = {},
                               const std::string& environment = {}) {
  const TemporaryFolder folder;
  std::string command = environment + " " + shell_quoted(OPHIS_PROGRAM);
  for (const std::string& argument : arguments) command.append(" ").append(shell_quoted(argument));
  const auto redirect = [&](const char* how, const char* file) {
    command.append(how).append(shell_quoted((folder.path() / file).string()));
  };
  folder.write("in", input);
  redirect(" <", "in");
  redirect(" >", "out");
  redirect(" 2>", "err");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder.path() / "out"),
          read_file(folder.path() / "err")};
}

}  // namespace ophis::test
