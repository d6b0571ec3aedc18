// Checking that something fails in the way it should.
#pragma once

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "ophis/core/error.hpp"

namespace ophis::test {

/// Checks that `call` throws Error(code) whose text contains all of `parts`.
template <class Call>
void expect_error(ErrorCode code, std::initializer_list<std::string_view> parts, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    const std::string text = error.what();
    INFO("the error says: ", text);
    CHECK(to_string(error.code()) == doctest::String(to_string(code)));
    for (const std::string_view part : parts) {
      INFO("it should mention: ", std::string(part));
      CHECK(text.find(part) != std::string::npos);
    }
    return;
  }
  FAIL_CHECK("no error was thrown; wanted: ", to_string(code));
}

}  // namespace ophis::test
