// What a device must do besides computing: contexts side by side, memory, errors. On the CPU, or on the
// device that OPHIS_TEST_DEVICE names.
#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "ophis/core/copy.hpp"
#include "ophis/core/graph.hpp"
#include "ophis/ops/embedding.hpp"
#include "ophis/ops/linear.hpp"
#include "ophis/ops/rms_norm.hpp"
#include "ophis/ops/selective_scan.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/parity_test.hpp"

using namespace ophis;
using test::TensorPool;

namespace {

/// A small block's worth of work: norm, product, scan, `rounds` times through workspace memory.
struct Work {
  TensorPool pool;
  Tensor x, weight, norm, A;

  explicit Work(std::uint32_t seed) : pool(seed) {
    x = pool.uniform(DType::float32, {2, 40, 64}, -1, 1);
    weight = pool.uniform(DType::float32, {64, 64}, -0.2, 0.2);
    norm = pool.uniform(DType::float32, {64}, 0, 2);
    A = pool.uniform(DType::float32, {64, 16}, -2, -0.5);
  }

  void run(ExecContext& exec, const Tensor& out, int rounds) const {
    const Workspace::Scope scope(exec.workspace());
    const Tensor normed = exec.workspace().take_tensor(DType::float32, x.shape());
    const Tensor product = exec.workspace().take_tensor(DType::float32, x.shape());
    for (int round = 0; round < rounds; ++round) {
      RmsNormArgs norm_args;
      norm_args.x = round == 0 ? x : out;
      norm_args.weight = norm;
      norm_args.out = normed;
      rms_norm(exec, norm_args);
      linear(exec, {normed, weight, {}, product});
      SelectiveScanArgs scan;
      scan.u = scan.delta = product;
      scan.A = A;
      scan.B = scan.C = normed.reshape({2, 40, 4, 16});
      scan.delta_softplus = true;
      scan.out = out;
      selective_scan(exec, scan);
    }
  }
};

/// cudaStreamLegacy, hipStreamLegacy.
void* const legacy_default_stream = reinterpret_cast<void*>(1);

}  // namespace

TEST_CASE("contexts of several threads do not disturb each other") {
  constexpr int rounds = 20;
  std::deque<Work> works;
  for (std::uint32_t i = 0; i < 4; ++i) works.emplace_back(i);
  std::vector<Tensor> want, got;
  for (Work& work : works) {
    want.push_back(work.pool.poisoned(DType::float32, work.x.shape()));
    got.push_back(work.pool.poisoned(DType::float32, work.x.shape()));
  }
  {
    ExecContext exec(test::device());
    for (std::size_t i = 0; i < works.size(); ++i) works[i].run(exec, want[i], rounds);
    exec.fence();
  }
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < works.size(); ++i) {
    threads.emplace_back([&, i] {
      ExecContext exec(test::device());
      works[i].run(exec, got[i], rounds);
      exec.fence();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < works.size(); ++i) CHECK(test::same_bits(got[i], want[i]));
}

TEST_CASE("a new thread may begin with the legacy default stream") {
  Work work(6);
  const Tensor here = work.pool.poisoned(DType::float32, work.x.shape()), there = work.pool.clone(here);
  const auto run = [&](const Tensor& out) {
    ExecContext exec(test::device(), legacy_default_stream);
    work.run(exec, out, 1);
    exec.fence();
  };
  run(here);
  std::thread([&] { run(there); }).join();
  CHECK(test::same_bits(here, there));
}

TEST_CASE("a graph repeats its work on what its tensors hold at the time") {
  void* stream = nullptr;  // one of the context's own
  SUBCASE("on a stream that can be recorded") {}
  SUBCASE("on the legacy default stream") { stream = legacy_default_stream; }
  ExecContext exec(test::device(), stream);
  Work work(7);
  const Tensor want = work.pool.poisoned(DType::float32, work.x.shape());
  const Tensor got = work.pool.clone(work.x);
  const Tensor input = work.x;
  for (int round = 0; round < 5; ++round) {
    work.run(exec, want, 1);
    work.x = want;
  }
  work.x = got;
  Graph graph(exec, [&] { work.run(exec, got, 1); });
  for (int round = 0; round < 5; ++round) graph.run();
  exec.fence();
  CHECK(test::same_bits(got, want));
  CHECK_FALSE(test::same_bits(got, input));
}

TEST_CASE("work that has run once takes no more memory from the device") {
  ExecContext exec(test::device());
  const Work work(8);
  TensorPool pool(9);
  const Tensor out = pool.poisoned(DType::float32, work.x.shape());
  work.run(exec, out, 1);
  const std::uint64_t before = device_allocations();
  work.run(exec, out, 10);
  exec.fence();
  CHECK(device_allocations() == before);
}

TEST_CASE("too large an allocation says how much was wanted, and the device goes on") {
  constexpr std::size_t bytes = std::size_t{1} << 50;
  test::expect_error(ErrorCode::out_of_memory, {"could not allocate 1125899906842624 bytes on"},
                     [] { Buffer(bytes, test::device()); });
  if (test::device() != Device::cpu()) {
    test::expect_error(ErrorCode::out_of_memory, {"bytes left", "use a smaller batch"},
                       [] { Buffer(bytes, test::device()); });
  }
  ExecContext exec(test::device());
  Work work(10);
  const Tensor out = work.pool.poisoned(DType::float32, work.x.shape());
  work.run(exec, out, 1);
  exec.fence();
  CHECK(out.data<float>()[0] == out.data<float>()[0]);
}

TEST_CASE("an op refuses tensors of another device") {
  if (test::device() == Device::cpu()) return;
  ExecContext exec(test::device());
  parity::TensorPool host(1);
  RmsNormArgs args;
  args.x = host.uniform(DType::float32, {2, 8}, -1, 1);
  args.out = host.poisoned(DType::float32, {2, 8});
  test::expect_error(ErrorCode::invalid_argument, {"rms_norm", "cpu", to_string(test::device().type)},
                     [&] { rms_norm(exec, args); });
}

// By itself, since the process cannot use the device any more: --no-skip --test-case="a failed kernel*".
TEST_CASE("a failed kernel is an error of the next fence, and the CPU can still be used" * doctest::skip()) {
  if (test::device() == Device::cpu()) return;
  ExecContext exec(test::device());
  TensorPool pool(1);
  const Tensor ids = pool.integers({2}, {0, 1}, DType::int64);
  const Tensor out = pool.poisoned(DType::float32, {2, 8});
  void* const nowhere = reinterpret_cast<void*>(std::uintptr_t{1} << 20);
  const auto fail = [&] {
    embedding(exec, {ids, Tensor(nowhere, DType::float32, {2, 8}, test::device()), {}, {}, out});
    exec.fence();
  };
  test::expect_error(ErrorCode::internal, {"a kernel has failed", "the CPU it can"}, fail);

  ExecContext cpu;
  parity::TensorPool host(2);
  RmsNormArgs args;
  args.x = host.uniform(DType::float32, {2, 8}, 1, 2);
  args.out = host.poisoned(DType::float32, {2, 8});
  rms_norm(cpu, args);
  CHECK(*args.out.data<float>() > 0.0f);
}
