#include <doctest/doctest.h>

#include <algorithm>

#include "ophis/ops/parity.hpp"

using namespace ophis;

TEST_CASE("every op names its implementations, the portable kernel last") {
  const std::vector<std::string> ops = parity_ops();
  REQUIRE(!ops.empty());
  CHECK(std::is_sorted(ops.begin(), ops.end()));
  for (const std::string& op : ops) {
    INFO(op);
    REQUIRE(!implementation_names(op).empty());
    CHECK(implementation_names(op).back() == "kokkos");
  }
  CHECK_THROWS_WITH_AS(implementation_names("juggle"), "there is no op 'juggle' with a parity check", Error);
}
