#include "bench/support/floors.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "ophis/core/kokkos.hpp"
#include "ophis/ops/linear.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::bench {
namespace {

constexpr int floor_repetitions = 5;
constexpr std::int64_t floats_per_item = 4096;  // small enough to share evenly, large enough to stream

/// The caches that a flush must overwrite; where the system does not tell, more than most machines have.
std::size_t cache_bytes() {
  constexpr std::size_t at_least = std::size_t{32} << 20;
#ifdef _SC_LEVEL3_CACHE_SIZE
  const long level3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
  if (level3 > 0) return std::max(at_least, static_cast<std::size_t>(level3));
#endif
  return at_least;
}

template <int W>
struct Fill {
  float* to;
  float value;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    for (std::int64_t i = 0; i < floats_per_item; i += W)
      store(to + item * floats_per_item + i, Pack<W>(value));
  }
};

template <int W>
struct Copy {
  const float* from;
  float* to;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const std::int64_t begin = item * floats_per_item;
    for (std::int64_t i = begin; i < begin + floats_per_item; i += W) store(to + i, load<W>(from + i));
  }
};

template <int W>
struct Sum {
  const float* from;
  float* sums;  // one an item
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    constexpr int chains = 4;
    Pack<W> sum[chains] = {0.0f, 0.0f, 0.0f, 0.0f};
    const std::int64_t begin = item * floats_per_item;
    for (std::int64_t i = begin; i < begin + floats_per_item; i += chains * W) {
      for (int c = 0; c < chains; ++c) sum[c] += load<W>(from + i + c * W);
    }
    sums[item] = reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
};

/// Independent chains of multiply-adds, enough of them to hide the latency.
template <int W>
struct MultiplyAdd {
  static constexpr int chains = 12;
  static constexpr std::int64_t steps = 1 << 20;
  float* sums;  // one an item
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    Pack<W> sum[chains];
    for (int c = 0; c < chains; ++c) sum[c] = Pack<W>(static_cast<float>(item + c));
    const Pack<W> factor(sums[item]), term(sums[item] + 1.0f);
    for (std::int64_t step = 0; step < steps; ++step) {
      for (int c = 0; c < chains; ++c) sum[c] = fma(sum[c], factor, term);
    }
    for (int c = 1; c < chains; ++c) sum[0] += sum[c];
    sums[item] = reduce_add(sum[0]);
  }
};

/// Runs a functor over items once more than measured; the least of the measured seconds.
template <class Functor, class Space>
double best_seconds(ExecContext& exec, const Space& space, std::int64_t items, const Functor& functor) {
  const auto work = [&] { for_each_element(space, "ophis::bench::floor", items, functor); };
  seconds(exec, work);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < floor_repetitions; ++i) best = std::min(best, seconds(exec, work));
  return best;
}

}  // namespace

double seconds(ExecContext& exec, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  work();
  exec.fence();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

CacheFlusher::CacheFlusher(ExecContext& exec) : m_exec(exec), m_memory(2 * cache_bytes(), exec.device()) {}

void CacheFlusher::flush() {
  with_exec_space(m_exec, [&](const auto& space) {
    constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
    const auto items = static_cast<std::int64_t>(m_memory.bytes() / sizeof(float)) / floats_per_item;
    for_each_element(space, "ophis::bench::flush", items,
                     Fill<W>{static_cast<float*>(m_memory.data()), 1.0f});
  });
  m_exec.fence();
}

double measure_gemm(ExecContext& exec, DType dtype, const GemmShape& shape) {
  parity::TensorPool pool(3);
  LinearArgs args;
  args.x = pool.uniform(dtype, {shape.rows, shape.in}, -1, 1);
  args.weight = pool.uniform(dtype, {shape.out, shape.in}, -1, 1);
  args.out = pool.poisoned(dtype, {shape.rows, shape.out});
  const auto work = [&] { linear(exec, args); };
  seconds(exec, work);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < floor_repetitions; ++i) best = std::min(best, seconds(exec, work));
  return 2e-9 * static_cast<double>(shape.rows * shape.in * shape.out) / best;
}

Floors measure_floors(ExecContext& exec, const std::vector<DType>& dtypes) {
  Floors floors;
  floors.threads = num_threads();
  CacheFlusher from(exec), to(exec);  // arrays larger than the caches
  const Buffer& source = from.memory();
  const Buffer& target = to.memory();
  from.flush();
  to.flush();
  const auto bytes = static_cast<double>(source.bytes());
  const auto items = static_cast<std::int64_t>(source.bytes() / sizeof(float)) / floats_per_item;
  with_exec_space(exec, [&](const auto& space) {
    constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
    auto* const a = static_cast<float*>(source.data());
    auto* const b = static_cast<float*>(target.data());
    floors.copy_gb_s = 2e-9 * bytes / best_seconds(exec, space, items, Copy<W>{a, b});
    floors.read_gb_s = 1e-9 * bytes / best_seconds(exec, space, items, Sum<W>{a, b});
    using Peak = MultiplyAdd<W>;
    const double flops = 2.0 * W * Peak::chains * static_cast<double>(Peak::steps * floors.threads);
    floors.fma_gflop_s = 1e-9 * flops / best_seconds(exec, space, floors.threads, Peak{b});
  });
  for (const DType dtype : dtypes) floors.gemm_gflop_s[dtype] = measure_gemm(exec, dtype, {512, 768, 3352});
  return floors;
}

}  // namespace ophis::bench
