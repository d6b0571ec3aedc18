#include "bench/support/floors.hpp"

#include <unistd.h>

#include <algorithm>
#include <limits>

#include "ophis/core/copy.hpp"
#include "ophis/core/kokkos.hpp"
#include "ophis/core/timer.hpp"
#include "ophis/ops/linear.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::bench {
namespace {

constexpr int floor_repetitions = 5;

/// Floats of an item. On a CPU a run of them, small enough to share evenly, large enough to stream; on a GPU
/// a few fours that lie apart, so that neighbouring threads read neighbours.
template <int W>
constexpr std::int64_t floats_per_item = W == 1 ? 32 : 4096;

/// What a GPU's thread moves at once.
struct alignas(16) Four {
  float lanes[4];
};

/// The arrays that a GPU copies and reads: large beside the time of a launch.
constexpr std::size_t gpu_array_bytes = std::size_t{1} << 30;

/// The caches that a flush must overwrite: the largest of a GPU; of a CPU, where the system does not tell,
/// more than most machines have.
std::size_t cache_bytes([[maybe_unused]] Device device) {
  constexpr std::size_t at_least = std::size_t{128} << 20;
#ifdef _SC_LEVEL3_CACHE_SIZE
  const long level3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
  if (device.type == DeviceType::cpu && level3 > 0)
    return std::max(at_least, static_cast<std::size_t>(level3));
#endif
  return at_least;
}

template <int W>
struct Fill {
  float* to;
  float value;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    for (std::int64_t k = 0; k < floats_per_item<W> / W; ++k)
      store(to + item * floats_per_item<W> + k * W, Pack<W>(value));
  }
};

template <int W>
struct Copy {
  const float* from;
  float* to;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    for (std::int64_t k = 0; k < floats_per_item<W> / W; ++k) {
      const std::int64_t at = item * floats_per_item<W> + k * W;
      store(to + at, load<W>(from + at));
    }
  }
};

template <int W>
struct Sum {
  const float* from;
  float* sums;  // one an item
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    constexpr int chains = 4;
    Pack<W> sum[chains] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (std::int64_t k = 0; k < floats_per_item<W> / W; k += chains) {
      for (int c = 0; c < chains; ++c) sum[c] += load<W>(from + item * floats_per_item<W> + (k + c) * W);
    }
    sums[item] = reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
};

/// The same for a GPU.
struct SumFours {
  const Four* from;
  float* sums;  // one an item
  std::int64_t items;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    constexpr int fours = static_cast<int>(floats_per_item<1>) / 4;
    Four parts[fours];
    for (int k = 0; k < fours; ++k) parts[k] = from[k * items + item];
    float sum = 0.0f;
    for (int k = 0; k < fours; ++k) {
      sum += (parts[k].lanes[0] + parts[k].lanes[1]) + (parts[k].lanes[2] + parts[k].lanes[3]);
    }
    sums[item] = sum;
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

/// Runs work once more than measured; the least of the measured seconds.
template <class Work>
double best_seconds(ExecContext& exec, const Work& work) {
  seconds_of(exec, work);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < floor_repetitions; ++i) best = std::min(best, seconds_of(exec, work));
  return best;
}

template <class Functor, class Space>
double best_seconds(ExecContext& exec, const Space& space, std::int64_t items, const Functor& functor) {
  return best_seconds(exec, [&] { for_each_element(space, "ophis::bench::floor", items, functor); });
}

void measure_cpu_memory(ExecContext& exec, Floors& floors) {
  CacheFlusher from(exec), to(exec);  // arrays larger than the caches
  from.flush();
  to.flush();
  const auto bytes = static_cast<double>(from.memory().bytes());
  constexpr int W = pack_width<HostExecSpace>;
  const auto items = static_cast<std::int64_t>(from.memory().bytes() / sizeof(float)) / floats_per_item<W>;
  const auto* const a = static_cast<const float*>(from.memory().data());
  auto* const b = static_cast<float*>(to.memory().data());
  const HostExecSpace space;
  floors.copy_gb_s = 2e-9 * bytes / best_seconds(exec, space, items, Copy<W>{a, b});
  floors.read_gb_s = 1e-9 * bytes / best_seconds(exec, space, items, Sum<W>{a, b});
  using Peak = MultiplyAdd<W>;
  const double flops = 2.0 * W * Peak::chains * static_cast<double>(Peak::steps * floors.threads);
  floors.fma_gflop_s = 1e-9 * flops / best_seconds(exec, space, floors.threads, Peak{b});
}

/// The copy is the driver's own.
void measure_gpu_memory(ExecContext& exec, Floors& floors) {
  constexpr auto count = static_cast<std::int64_t>(gpu_array_bytes / sizeof(float));
  const OwnedTensor from(DType::float32, {count}, exec.device()), to(DType::float32, {count}, exec.device());
  fill_with_zeros(exec, from);
  const auto bytes = static_cast<double>(gpu_array_bytes);
  floors.copy_gb_s = 2e-9 * bytes / best_seconds(exec, [&] { copy(exec, from, to); });
  with_exec_space(exec, [&](const auto& space) {
    constexpr std::int64_t items = count / floats_per_item<1>;
    const SumFours sum{static_cast<const Four*>(from->raw()), to->data<float>(), items};
    floors.read_gb_s = 1e-9 * bytes / best_seconds(exec, space, items, sum);
  });
}

}  // namespace

CacheFlusher::CacheFlusher(ExecContext& exec)
    : m_exec(exec), m_memory(2 * cache_bytes(exec.device()), exec.device()) {}

void CacheFlusher::flush() {
  const auto count = static_cast<std::int64_t>(m_memory.bytes() / sizeof(float));
  auto* const floats = static_cast<float*>(m_memory.data());
  with_exec_space(m_exec, [&](const auto& space) {
    constexpr int W = pack_width<std::decay_t<decltype(space)>>;
    for_each_element(space, "ophis::bench::flush", count / floats_per_item<W>, Fill<W>{floats, 1.0f});
  });
}

double measure_gemm(ExecContext& exec, DType dtype, const GemmShape& shape) {
  parity::TensorPool pool(3, exec);
  LinearArgs args;
  args.x = pool.uniform(dtype, {shape.rows, shape.in}, -1, 1);
  args.weight = pool.uniform(dtype, {shape.out, shape.in}, -1, 1);
  args.out = pool.poisoned(dtype, {shape.rows, shape.out});
  const auto work = [&] { linear(exec, args); };
  return 2e-9 * static_cast<double>(shape.rows * shape.in * shape.out) / best_seconds(exec, work);
}

Floors measure_floors(ExecContext& exec, const std::vector<DType>& dtypes) {
  Floors floors;
  floors.threads = num_threads();
  if (exec.device() == Device::cpu())
    measure_cpu_memory(exec, floors);
  else
    measure_gpu_memory(exec, floors);
  const bool on_cpu = exec.device().type == DeviceType::cpu;
  const GemmShape shape = on_cpu ? GemmShape{512, 768, 3352} : GemmShape{2048, 2560, 10576};
  for (const DType dtype : dtypes) floors.gemm_gflop_s[dtype] = measure_gemm(exec, dtype, shape);
  return floors;
}

}  // namespace ophis::bench
