// The blocks of a cluster keep a row's values and probabilities in their shared memory. A pass over the row
// is then a look at what each thread holds and an exchange of a few sums between all warps of the cluster;
// which warps hold nothing of interest, most of them after the first passes, know it from their largest
// value.
#include "backends/cuda/sample_cuda.hpp"

#include "backends/cuda/cluster.cuh"
#include "backends/cuda/device_functions.cuh"
#include "backends/cuda/launch.cuh"
#include "ops/sample/sample_row.hpp"

namespace ophis::sample_cuda {
namespace {

using sample_row::Cut;
using sample_row::Operands;
using sample_row::Race;

constexpr unsigned threads = 512, warps = threads / 32;
constexpr unsigned most_blocks = 8;              // of a row
constexpr unsigned tokens_a_turn = threads * 4;  // a block's threads take four neighbours each
constexpr unsigned all_lanes = 0xffffffffu;

/// Sixteen integers of each warp of a cluster, held by lanes i and 16 + i, reduced over the warps.
class Exchange {
 public:
  static constexpr unsigned lanes = 16;
  struct Shared {
    std::uint64_t of_warps[warps][lanes];
    std::uint64_t of_blocks[2][most_blocks][lanes];  // taken in turns: a block may be one reduction ahead
  };

  __device__ Exchange(Shared& shared, const cuda::Cluster& cluster) : m_shared(shared), m_cluster(cluster) {}

  /// The lanes of every warp get what the same lanes of all warps gave.
  template <class Reduce>
  __device__ std::uint64_t operator()(std::uint64_t of_lane, Reduce reduce) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % lanes;
    m_shared.of_warps[warp][lane] = of_lane;
    __syncthreads();
    if (warp == 0) {
      std::uint64_t of_block = m_shared.of_warps[0][lane];
#pragma unroll
      for (unsigned i = 1; i < warps; ++i) of_block = reduce(of_block, m_shared.of_warps[i][lane]);
      // To all blocks, by the two halves of the warp.
      std::uint64_t* const place = &m_shared.of_blocks[m_turn][m_cluster.block()][lane];
      for (unsigned i = threadIdx.x / lanes; i < m_cluster.blocks(); i += 2)
        *m_cluster.of_block(place, i) = of_block;
    }
    m_cluster.sync();
    std::uint64_t result = m_shared.of_blocks[m_turn][0][lane];
    for (unsigned i = 1; i < m_cluster.blocks(); ++i)
      result = reduce(result, m_shared.of_blocks[m_turn][i][lane]);
    m_turn ^= 1;
    return result;
  }

 private:
  Shared& m_shared;
  const cuda::Cluster& m_cluster;
  unsigned m_turn = 0;
};

struct Sum {
  __device__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const { return a + b; }
};
struct Max {
  __device__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const { return a > b ? a : b; }
};

/// The sum of a warp's values below 2^51.
__device__ std::uint64_t sum_of_warp(std::uint64_t value) {
  constexpr int low_bits = 24;
  const unsigned low = static_cast<unsigned>(value) & ((1u << low_bits) - 1);
  const auto high = static_cast<unsigned>(value >> low_bits);
  return (std::uint64_t{__reduce_add_sync(all_lanes, high)} << low_bits) + __reduce_add_sync(all_lanes, low);
}
__device__ std::uint64_t max_of_warp(std::uint64_t value) {
  const auto high = static_cast<unsigned>(value >> 32);
  const unsigned highest = __reduce_max_sync(all_lanes, high);
  const unsigned low = high == highest ? static_cast<unsigned>(value) : 0;
  return std::uint64_t{highest} << 32 | __reduce_max_sync(all_lanes, low);
}

/// Of threshold j lane j has the count, and lane `first` + j what is compared with targets; lanes 16 and up
/// have the same again.
template <int fan>
struct Tally {
  std::int64_t of_lane;
  int first;

  __device__ unsigned count(int j) const { return __shfl_sync(all_lanes, static_cast<unsigned>(of_lane), j); }
  __device__ std::int64_t mass(int j) const { return __shfl_sync(all_lanes, of_lane, first + j); }
  __device__ int reaching(std::int64_t target) const {
    const unsigned reached = __ballot_sync(all_lanes, of_lane >= target);
    return __popc(reached >> first & ((1u << fan) - 1));
  }
};

/// Four neighbouring tokens. Those behind the vocabulary have no value (NaN).
struct alignas(16) Four {
  float lanes[4];
};

/// A row of sample_row.hpp. Each thread holds every so manyth four of its tokens.
struct Row {
  static constexpr int fan = 7;
  static constexpr int first_mass = 8;  // the lane that has the mass of threshold 0

  const cuda::Cluster& cluster;
  Exchange& exchange;
  Four* x;
  Four* p;
  std::int64_t vocab;
  unsigned turns;
  float largest = -INFINITY;  // of the thread's values

  __device__ std::int32_t token(unsigned turn) const {
    return static_cast<std::int32_t>((turn * cluster.blocks() + cluster.block()) * tokens_a_turn +
                                     threadIdx.x * 4);
  }
  __device__ Four& at(Four* values, unsigned turn) const { return values[turn * threads + threadIdx.x]; }

  /// `body(turn, token, values)` for the thread's fours, unless all their values are lower than this.
  template <class Body>
  __device__ void for_each_four(float least, Body body) const {
    if (largest < least) return;
    for (unsigned turn = 0; turn < turns; ++turn) body(turn, token(turn), at(x, turn));
  }

  /// Fills x; returns the rank of the largest.
  template <class T>
  __device__ std::uint64_t penalise(const Operands<T>& operands, std::int64_t number) {
    const auto penalties = operands.penalties(number);
    std::uint64_t first = 0;
#pragma unroll 2
    for (unsigned turn = 0; turn < turns; ++turn) {
      Four four;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int32_t v = token(turn) + i;
        four.lanes[i] = v < vocab ? operands.penalised(number, v, penalties) : NAN;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int32_t v = token(turn) + i;
        if (v < vocab) first = Max()(first, sample_row::rank(four.lanes[i], v));
        largest = fmaxf(largest, four.lanes[i]);
      }
      at(x, turn) = four;
    }
    cluster.wait();
    return exchange(max_of_warp(first), Max());
  }

  __device__ void set_probabilities(float of_row, float temperature) {
    for_each_four(-INFINITY, [&](unsigned turn, std::int32_t, const Four& values) {
      Four four;
#pragma unroll
      for (int i = 0; i < 4; ++i) four.lanes[i] = exp(Pack<1>((values.lanes[i] - of_row) / temperature)).v;
      at(p, turn) = four;
    });
  }

  __device__ std::int64_t mass(const Cut& kept) const {
    std::uint64_t sum = 0;
    for_each_four(kept.value, [&](unsigned turn, std::int32_t token, const Four& values) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (kept.keeps(values.lanes[i], token + i)) sum += sample_row::quantised(at(p, turn).lanes[i]);
      }
    });
    return __shfl_sync(all_lanes, exchange(sum_of_warp(sum), Sum()), 0);
  }

  template <bool weighted>
  __device__ Tally<fan> tally(const Cut& kept, const sample_row::Values& scale) const {
    const float of_lane = scale[std::min(static_cast<int>(threadIdx.x % 32), fan - 1)];
    float thresholds[fan];
#pragma unroll
    for (int j = 0; j < fan; ++j) thresholds[j] = __shfl_sync(all_lanes, of_lane, j);
    unsigned counts[fan] = {};
    std::uint64_t masses[fan] = {};
    for_each_four(thresholds[0], [&](unsigned turn, std::int32_t token, const Four& values) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float value = values.lanes[i];
        if (value < thresholds[0] || !kept.keeps(value, token + i)) continue;
        const std::uint64_t mass = weighted ? sample_row::quantised(at(p, turn).lanes[i]) : 0;
#pragma unroll
        for (int j = 0; j < fan; ++j) {
          counts[j] += value >= thresholds[j] ? 1 : 0;
          if constexpr (weighted) masses[j] += value >= thresholds[j] ? mass : 0;
        }
      }
    });
    return tally_of<weighted>(counts, masses, counts[0] > 0);
  }

  __device__ Tally<fan> tally_equals(const Cut& kept, float value, const sample_row::Tokens& tokens) const {
    unsigned counts[fan] = {};
    for_each_four(value, [&](unsigned, std::int32_t token, const Four& values) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (values.lanes[i] != value || !kept.keeps(value, token + i)) continue;
#pragma unroll
        for (int j = 0; j < fan; ++j) counts[j] += token + i <= tokens[j] ? 1 : 0;
      }
    });
    return tally_of<false>(counts, {}, counts[fan - 1] > 0);
  }

  /// All threads' counts and masses; of those of a thread that has `any`.
  template <bool weighted>
  __device__ Tally<fan> tally_of(const unsigned (&counts)[fan], const std::uint64_t (&masses)[fan],
                                 bool any) const {
    const unsigned lane = threadIdx.x % Exchange::lanes;
    std::uint64_t of_lane = 0;
    if (__any_sync(all_lanes, any)) {
#pragma unroll
      for (int j = 0; j < fan; ++j) {
        const std::uint64_t count = __reduce_add_sync(all_lanes, counts[j]);
        if (lane == j) of_lane = count;
        if constexpr (weighted) {
          const std::uint64_t mass = sum_of_warp(masses[j]);
          if (lane == first_mass + j) of_lane = mass;
        }
      }
    }
    return {static_cast<std::int64_t>(exchange(of_lane, Sum())), weighted ? first_mass : 0};
  }

  __device__ sample_row::Extremes extremes(const Cut& kept, std::uint32_t low, std::uint32_t high) const {
    unsigned least = ~0u, greatest = 0;
    for_each_four(float_of(low), [&](unsigned, std::int32_t token, const Four& values) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const unsigned key = ordered(values.lanes[i]);
        if (key < low || key >= high || !kept.keeps(values.lanes[i], token + i)) continue;
        least = std::min(least, key);
        greatest = std::max(greatest, key);
      }
    });
    const unsigned lane = threadIdx.x % Exchange::lanes;
    least = __reduce_min_sync(all_lanes, least);
    greatest = __reduce_max_sync(all_lanes, greatest);
    const std::uint64_t found = exchange(lane == 0 ? ~least : greatest, Max());
    return {~static_cast<unsigned>(__shfl_sync(all_lanes, found, 0)),
            static_cast<unsigned>(__shfl_sync(all_lanes, found, 1))};
  }

  __device__ std::uint64_t best_score(const Cut& kept, const Race& race) const {
    std::uint64_t best = 0;
    for_each_four(kept.value, [&](unsigned turn, std::int32_t token, const Four& values) {
      best = Max()(best, race.best<1>(kept, values.lanes, at(p, turn).lanes, token, 4));
    });
    return exchange(max_of_warp(best), Max());
  }
};

/// Every `blocks` blocks, which are a cluster, draw the token of a row.
template <class T>
__global__ void __launch_bounds__(threads) draw(const Operands<T> operands, unsigned blocks, unsigned turns) {
  extern __shared__ Four held[];
  __shared__ Exchange::Shared shared;
  const unsigned number = blockIdx.x / blocks, block = blockIdx.x % blocks;
  const cuda::Cluster cluster(blocks, block);
  cluster.arrive();
  Exchange exchange(shared, cluster);
  Row row{cluster, exchange, held, held + turns * threads, operands.vocab, turns};
  cuda::wait_for_previous_kernel();
  const std::uint64_t first = row.penalise(operands, number);
  const std::int64_t drawn = operands.draw(row, number, first);
  if (block == 0 && threadIdx.x == 0) operands.finish(number, drawn);
}

/// How the rows are shared out.
struct Plan {
  unsigned blocks = 1, turns;  // turns: fours that a thread holds

  explicit Plan(std::int64_t vocab) { set_turns(vocab); }
  void set_turns(std::int64_t vocab) {
    const std::int64_t tokens = std::int64_t{blocks} * tokens_a_turn;
    turns = static_cast<unsigned>((vocab + tokens - 1) / tokens);
  }
  std::size_t shared_bytes() const { return std::size_t{2} * turns * threads * sizeof(Four); }
  bool fits(const cuda::DeviceProperties& gpu) const {
    return shared_bytes() + sizeof(Exchange::Shared) <= static_cast<std::size_t>(gpu.shared_memory_per_block);
  }
};

/// As many blocks a row as its values need, and more while the device has room for them.
Plan plan_of(const cuda::DeviceProperties& gpu, std::int64_t batch, std::int64_t vocab) {
  Plan plan(vocab);
  const auto gains = [&] { return plan.turns > 1 && 2 * plan.blocks * batch <= gpu.multiprocessors; };
  while (gpu.compute_capability >= 90 && plan.blocks < most_blocks && (!plan.fits(gpu) || gains())) {
    plan.blocks *= 2;
    plan.set_turns(vocab);
  }
  return plan;
}

}  // namespace

const char* why_not(Device device, const SampleArgs& args) {
  if (device.type != DeviceType::cuda) return "it runs on CUDA devices only";
  const cuda::DeviceProperties& gpu = cuda::properties(device);
  if (gpu.compute_capability < 80) return "needs compute capability 8.0";
  const std::int64_t batch = args.logits.extent(0), vocab = args.logits.extent(1);
  if (batch == 0 || batch >= std::int64_t{1} << 28) return "there are no rows, or too many";
  if (vocab == 0 || !plan_of(gpu, batch, vocab).fits(gpu)) return "a row does not fit in shared memory";
  return nullptr;
}

void run(ExecContext& exec, const SampleArgs& args) {
  const std::int64_t batch = args.logits.extent(0), vocab = args.logits.extent(1);
  const Plan plan = plan_of(cuda::properties(exec.device()), batch, vocab);
  const cuda::Grid grid(dim3(static_cast<unsigned>(batch) * plan.blocks), plan.blocks);
  dispatch_compute_dtype(args.logits.dtype(), [&]<class T>(std::type_identity<T>) {
    const int bytes = static_cast<int>(plan.shared_bytes());
    cuda::check(cudaFuncSetAttribute(draw<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "sample");
    cuda::launch_overlapped("sample", exec, draw<T>, grid, dim3(threads), plan.shared_bytes(),
                            Operands<T>(args), plan.blocks, plan.turns);
  });
}

}  // namespace ophis::sample_cuda
