#include "ops/common/implementation.hpp"

#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace ophis {
namespace {

using Choices = std::vector<std::pair<std::string, std::string>>;

Choices choices_from_environment() {
  Choices choices;
  const char* const value = std::getenv("OPHIS_FORCE_IMPL");
  std::string_view rest = value ? value : "";
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(','));
    const std::size_t colon = entry.find(':');
    OPHIS_REQUIRE(colon != std::string_view::npos, "OPHIS_FORCE_IMPL: '", entry,
                  "' is not of the form op:implementation");
    choices.emplace_back(entry.substr(0, colon), entry.substr(colon + 1));
    rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
  }
  return choices;
}

thread_local Choices scoped_choices;

}  // namespace

ScopedImplementation::ScopedImplementation(std::string_view op, std::string_view impl) {
  scoped_choices.emplace_back(op, impl);
}

ScopedImplementation::~ScopedImplementation() { scoped_choices.pop_back(); }

namespace detail {

std::string_view forced_implementation(std::string_view op) {
  static const Choices from_environment = choices_from_environment();
  for (const Choices* choices : {&std::as_const(scoped_choices), &from_environment}) {
    for (auto choice = choices->rbegin(); choice != choices->rend(); ++choice) {
      if (choice->first == op) return choice->second;
    }
  }
  return {};
}

void report_choice(std::string_view op, std::string_view impl, const char* why_not) {
  static const bool verbose = [] {
    const char* const value = std::getenv("OPHIS_VERBOSE");
    return value && std::string_view(value) != "0";
  }();
  if (!verbose) return;
  const std::string line =
      concat("ophis: ", op, ": ", impl, why_not ? " not taken: " : " runs", why_not ? why_not : "");
  std::fprintf(stderr, "%s\n", line.c_str());
}

void fail_dispatch(std::string_view op, std::string_view forced, const char* why_not) {
  if (forced.empty())
    fail(ErrorCode::unsupported, op, ": no implementation takes these arguments: ", why_not);
  fail(ErrorCode::unsupported, op, ": implementation '", forced, "' cannot run: ", why_not);
}

}  // namespace detail
}  // namespace ophis
