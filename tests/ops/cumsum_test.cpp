#include "ophis/ops/cumsum.hpp"

#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

template <class T>
Tensor make(TensorPool& pool, const std::vector<T>& values) {
  const Tensor tensor = pool.poisoned(dtype_of<T>, {static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.data<T>());
  return tensor;
}

template <class T>
std::vector<T> values(const Tensor& tensor) {
  return {tensor.data<T>(), tensor.data<T>() + tensor.count()};
}

}  // namespace

TEST_CASE("cumsum equals its reference") { test::require_parity("cumsum"); }

TEST_CASE("cumsum sums integers exactly, in place, into a wider type, and wraps around") {
  ExecContext exec(test::device());
  TensorPool pool(1);
  CumsumArgs args;
  args.x = args.out = make<std::int64_t>(pool, {1, -2, std::int64_t{1} << 60, 4});
  cumsum(exec, args);
  CHECK(values<std::int64_t>(args.out) ==
        std::vector<std::int64_t>{1, -1, (std::int64_t{1} << 60) - 1, (std::int64_t{1} << 60) + 3});

  args.x = make<std::int32_t>(pool, {5, 2147483647, 1, -3});
  args.out = pool.poisoned(DType::int64, {4});
  args.reverse = true;
  cumsum(exec, args);
  CHECK(values<std::int64_t>(args.out) == std::vector<std::int64_t>{2147483650, 2147483645, -2, -3});
  args.out = pool.poisoned(DType::int32, {4});
  cumsum(exec, args);
  CHECK(values<std::int32_t>(args.out) == std::vector<std::int32_t>{-2147483646, 2147483645, -2, -3});
}

TEST_CASE("cumsum of float64 keeps double precision") {
  ExecContext exec(test::device());
  TensorPool pool(2);
  CumsumArgs args;
  args.x = pool.uniform(DType::float64, {3000}, 0, 1);
  args.out = pool.poisoned(DType::float64, {3000});
  cumsum(exec, args);
  double sum = 0.0, worst = 0.0;
  for (int i = 0; i < 3000; ++i) {
    sum += args.x.data<double>()[i];
    worst = std::max(worst, std::fabs(args.out.data<double>()[i] - sum));
  }
  // The documented bound for the kernel, and 2999 additions one after the other here.
  CHECK(worst <= (511 + 5 + 2999) * 0x1p-53 * sum);
}

TEST_CASE("cumsum gives a row the same bits alone, in a batch, in place and along either axis") {
  ExecContext exec(test::device());
  TensorPool pool(3);
  CumsumArgs batch;
  batch.x = pool.uniform(DType::float32, {40, 1300}, -1, 1);
  batch.out = pool.poisoned(DType::float32, {40, 1300});
  cumsum(exec, batch);
  for (const std::int64_t row : {0, 17, 39}) {
    CumsumArgs alone;
    alone.x = batch.x.select(0, row);
    alone.out = pool.poisoned(DType::float32, {1300});
    cumsum(exec, alone);
    CHECK(test::same_bits(alone.out, batch.out.select(0, row)));
  }
  CumsumArgs transposed;
  transposed.x = batch.x.transpose(0, 1);
  transposed.out = pool.poisoned(DType::float32, {1300, 40});
  transposed.axis = -2;
  cumsum(exec, transposed);
  if (test::scans_ignore_layout()) CHECK(test::same_bits(transposed.out.transpose(0, 1), batch.out));
  const Tensor apart = batch.out;
  batch.out = batch.x;
  cumsum(exec, batch);
  CHECK(test::same_bits(apart, batch.x));
}

TEST_CASE("cumsum names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(4);
  CumsumArgs good;
  good.x = pool.uniform(DType::float32, {3, 4}, -1, 1);
  good.out = pool.poisoned(DType::float32, {3, 4});
  CumsumArgs bad = good;
  bad.x = Tensor();
  CHECK_THROWS_WITH(cumsum(exec, bad), "cumsum: x must be given");
  bad = good;
  bad.axis = 2;
  CHECK_THROWS_WITH(cumsum(exec, bad), "cumsum: axis 2 is not an axis of x, float32 (3, 4)");
  bad = good;
  bad.out = pool.poisoned(DType::float64, {3, 4});
  CHECK_THROWS_WITH(cumsum(exec, bad), "cumsum: out is float64, but must be float32");
  bad.out = pool.poisoned(DType::float32, {3, 5});
  CHECK_THROWS_WITH(cumsum(exec, bad), "cumsum: out has shape (3, 5), but must have (3, 4)");
  bad.x = pool.poisoned(DType::int8, {3, 4});
  CHECK_THROWS_WITH(cumsum(exec, bad),
                    "cumsum: x is int8, but must be float32, bfloat16, float16, float64, int32 or int64");
}
