#include "ophis/ops/argmax.hpp"

#include <limits>
#include <vector>

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

std::int64_t argmax_of(const std::vector<float>& x) {
  ExecContext exec(test::device());
  TensorPool pool(0);
  const ArgmaxArgs args{pool.floats(x), pool.poisoned(DType::int64, {})};
  argmax(exec, args);
  return *args.out.data<std::int64_t>();
}

}  // namespace

TEST_CASE("argmax equals its reference") { test::require_parity("argmax"); }

TEST_CASE("argmax takes the first of equals") {
  CHECK(argmax_of({1.0f, 3.0f, 3.0f, 2.0f}) == 1);
  CHECK(argmax_of({-0.0f, 0.0f}) == 0);
  std::vector<float> x(5000, -1.0f);
  CHECK(argmax_of(x) == 0);
  x[1023] = x[1024] = x[4999] = 7.0f;  // across blocks
  CHECK(argmax_of(x) == 1023);
  x[4998] = 8.0f;
  CHECK(argmax_of(x) == 4998);
}

TEST_CASE("argmax counts NaN as the largest, and takes infinities") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(argmax_of({1.0f, nan, infinity, nan}) == 1);
  CHECK(argmax_of({infinity, -infinity, infinity}) == 0);
  std::vector<float> x(3000, -infinity);
  CHECK(argmax_of(x) == 0);
  for (const std::size_t at : {0u, 1u, 17u, 1024u, 2999u}) {
    std::vector<float> with_nan(3000, infinity);
    with_nan[at] = nan;
    CHECK(argmax_of(with_nan) == static_cast<std::int64_t>(at));
  }
}

TEST_CASE("argmax names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  ArgmaxArgs bad{pool.uniform(DType::float32, {2, 9}, -1, 1), pool.poisoned(DType::int32, {2})};
  CHECK_THROWS_WITH(argmax(exec, bad), "argmax: out is int32, but must be int64");
  bad.out = pool.poisoned(DType::int64, {9});
  CHECK_THROWS_WITH(argmax(exec, bad), "argmax: out has shape (9), but must have (2)");
  bad.x = pool.integers({2}, {1, 2});
  CHECK_THROWS_WITH(argmax(exec, bad), "argmax: x is int32, but must be float32, bfloat16 or float16");
}
