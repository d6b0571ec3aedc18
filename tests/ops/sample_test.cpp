#include "ophis/ops/sample.hpp"
#include "tests/support/parity_test.hpp"
using namespace ophis;
TEST_CASE("sample equals its reference") { test::require_parity("sample"); }
