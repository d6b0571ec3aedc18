// The bridge from ExecContext to Kokkos: the one header of core that includes Kokkos. Kernels start their
// work here.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <string>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/simd.hpp"

namespace ophis {

/// Where ops of the CPU run.
using HostExecSpace = Kokkos::DefaultHostExecutionSpace;

#if defined(KOKKOS_ENABLE_CUDA)
#define OPHIS_HAS_GPU
using GpuExecSpace = Kokkos::Cuda;
using NativeStream = cudaStream_t;
#elif defined(KOKKOS_ENABLE_HIP)
#define OPHIS_HAS_GPU
using GpuExecSpace = Kokkos::HIP;
using NativeStream = hipStream_t;
#endif

/// How many threads the blocks of a kernel may have; 0: whatever Kokkos takes. AMD's compiler makes the
/// registers of a thread few enough for it, and would spill some for the 1024 threads that it assumes
/// otherwise.
template <class ExecSpace>
inline constexpr unsigned int max_block_threads = 0;
#if defined(KOKKOS_ENABLE_HIP)
template <>
inline constexpr unsigned int max_block_threads<Kokkos::HIP> = 256;
#endif

/// What only this bridge may see of an ExecContext.
struct ExecContextAccess {
#if defined(OPHIS_HAS_GPU)
  static const GpuExecSpace& gpu_space(const ExecContext& exec);
#endif
};

/// Lanes of the packs that kernels use in an execution space: the CPU's vector width, one on a GPU, where a
/// thread is a lane.
template <class ExecSpace>
inline constexpr int pack_width =
    Kokkos::SpaceAccessibility<ExecSpace, Kokkos::HostSpace>::accessible ? native_pack_width : 1;

/// Calls `f(space)` with the Kokkos execution-space instance of the context.
template <class F>
void with_exec_space(ExecContext& exec, F&& f) {
  if (exec.device().type == DeviceType::cpu) return f(HostExecSpace{});
#if defined(OPHIS_HAS_GPU)
  f(ExecContextAccess::gpu_space(exec));
#endif
}

/// Numbers for scratch memory of items at work: on the CPU one per thread, on a GPU, where most items are at
/// work at once, the item's own.
template <class ExecSpace, bool on_gpu = pack_width<ExecSpace> == 1>
class ScratchSlots {
 public:
  /// The second argument is the number of items.
  ScratchSlots(const ExecSpace& space, std::int64_t) : m_tokens(space) {}
  /// How many slots there are.
  std::int64_t count() const { return m_tokens.size(); }
  /// A slot for an item, which nobody else has until it is released.
  KOKKOS_INLINE_FUNCTION std::int64_t acquire(std::int64_t) const { return m_tokens.acquire(); }
  /// Gives a slot back.
  KOKKOS_INLINE_FUNCTION void release(std::int64_t slot) const { m_tokens.release(static_cast<int>(slot)); }

 private:
  Kokkos::Experimental::UniqueToken<ExecSpace> m_tokens;
};
template <class ExecSpace>
class ScratchSlots<ExecSpace, true> {
 public:
  ScratchSlots(const ExecSpace&, std::int64_t items) : m_items(items) {}
  std::int64_t count() const { return m_items; }
  KOKKOS_INLINE_FUNCTION std::int64_t acquire(std::int64_t item) const { return item; }
  KOKKOS_INLINE_FUNCTION void release(std::int64_t) const {}

 private:
  std::int64_t m_items;
};

namespace detail {

/// Indices 0 ... count - 1. The hint makes a GPU's kernel take its functor as an argument: faster than
/// through constant memory, and right in a recorded graph.
template <class Schedule, class ExecSpace>
auto range(const ExecSpace& space, std::int64_t count) {
  using Bounds = Kokkos::LaunchBounds<max_block_threads<ExecSpace>>;
  const Kokkos::RangePolicy<ExecSpace, Kokkos::Schedule<Schedule>, Kokkos::IndexType<std::int64_t>, Bounds>
      policy(space, 0, count);
  return Kokkos::Experimental::require(policy, Kokkos::Experimental::WorkItemProperty::HintLightWeight);
}

/// So many teams of so many threads.
template <class Policy, class ExecSpace>
auto team_policy(const ExecSpace& space, int league, int threads) {
  return Kokkos::Experimental::require(Policy(space, league, threads),
                                       Kokkos::Experimental::WorkItemProperty::HintLightWeight);
}

/// Runs a lone piece of work on the calling thread where that is the CPU's: other threads need not wake.
template <class ExecSpace, class Functor>
bool runs_alone([[maybe_unused]] std::int64_t count, [[maybe_unused]] const Functor& functor) {
  if constexpr (pack_width<ExecSpace> != 1) {
    if (count == 1) functor(std::int64_t{0});
    return count <= 1;
  } else {
    return count == 0;
  }
}

}  // namespace detail

/// Runs `functor(i)` for i in [0, count), in any order and in parallel, for small and equal pieces of work: a
/// thread takes a run of them.
template <class ExecSpace, class Functor>
void for_each_element(const ExecSpace& space, const char* label, std::int64_t count, const Functor& functor) {
  if (!detail::runs_alone<ExecSpace>(count, functor))
    Kokkos::parallel_for(label, detail::range<Kokkos::Static>(space, count), functor);
}

/// The same for pieces worth a microsecond or more, which may differ: on the CPU they are handed to threads
/// one by one.
template <class ExecSpace, class Functor>
void for_each_item(const ExecSpace& space, const char* label, std::int64_t count, const Functor& functor) {
  if (detail::runs_alone<ExecSpace>(count, functor)) return;
  auto policy = detail::range<Kokkos::Dynamic>(space, count);
  if constexpr (pack_width<ExecSpace> != 1) policy.set_chunk_size(1);
  Kokkos::parallel_for(label, policy, functor);
}

/// The group of a functor that one thread works for.
struct LoneThread {
  static constexpr int rank() { return 0; }  ///< that of the only thread
  static constexpr int size() { return 1; }  ///< threads of the group
  /// The value itself.
  template <class T>
  KOKKOS_INLINE_FUNCTION static T sum(T value) {
    return value;
  }
  /// The value itself.
  template <class T>
  KOKKOS_INLINE_FUNCTION static T max(T value) {
    return value;
  }
  /// The value itself.
  template <class T>
  KOKKOS_INLINE_FUNCTION static T min(T value) {
    return value;
  }
};

/// The threads of a GPU that share a piece of work: number rank() of size() takes every size()th of its
/// elements, so that neighbours read side by side. All of them call sum(), max() and min(), each with its own
/// value, and get the same: that of all values. What any of them read before is read by then.
template <class Team>
class ThreadGroup {
 public:
  /// All threads of a team of Kokkos'.
  KOKKOS_INLINE_FUNCTION explicit ThreadGroup(const Team& team) : m_team(team) {}
  /// The number of this thread.
  KOKKOS_INLINE_FUNCTION int rank() const { return m_team.team_rank(); }
  /// Threads of the group.
  KOKKOS_INLINE_FUNCTION int size() const { return m_team.team_size(); }
  /// The sum of all threads' values, always in the same order.
  template <class T>
  KOKKOS_INLINE_FUNCTION T sum(T value) const {
    m_team.team_reduce(Kokkos::Sum<T>(value));
    return value;
  }
  /// The largest of them; a NaN may be left out.
  template <class T>
  KOKKOS_INLINE_FUNCTION T max(T value) const {
    m_team.team_reduce(Kokkos::Max<T>(value));
    return value;
  }
  /// The least of them; a NaN may be left out.
  template <class T>
  KOKKOS_INLINE_FUNCTION T min(T value) const {
    m_team.team_reduce(Kokkos::Min<T>(value));
    return value;
  }

 private:
  const Team& m_team;
};

namespace detail {

/// What a team does: every so manyth piece of work.
template <class Functor>
struct GroupWork {
  Functor functor;
  std::int64_t count;

  template <class Team>
  KOKKOS_FUNCTION void operator()(const Team& team) const {
    for (std::int64_t i = team.league_rank(); i < count; i += team.league_size())
      functor(i, ThreadGroup<Team>(team));
  }
};

}  // namespace detail

/// Runs `functor(i, group)` for i in [0, count) with a group of `size` threads of a GPU; on the CPU
/// `functor(i)`, as for_each_element does.
template <int size, class ExecSpace, class Functor>
void for_each_group(const ExecSpace& space, const char* label, std::int64_t count, const Functor& functor) {
  if constexpr (pack_width<ExecSpace> != 1) {
    for_each_element(space, label, count, functor);
  } else if (count > 0) {
    using Policy = Kokkos::TeamPolicy<ExecSpace, Kokkos::LaunchBounds<size>>;
    const auto groups = static_cast<int>(Kokkos::min<std::int64_t>(count, std::int64_t{1} << 30));
    Kokkos::parallel_for(label, detail::team_policy<Policy>(space, groups, size),
                         detail::GroupWork<Functor>{functor, count});
  }
}

/// Runs `functor(team)` with a team of threads for each index team.league_rank() in [0, count): on a GPU as
/// many threads as a block can have, on the CPU one.
template <class ExecSpace, class Functor>
void for_each_team(const ExecSpace& space, const char* label, std::int64_t count, const Functor& functor) {
  if (count == 0) return;
  using Policy = Kokkos::TeamPolicy<ExecSpace>;
  const auto league = static_cast<int>(count);
  int threads = 1;
  if constexpr (pack_width<ExecSpace> == 1)
    threads = Policy(space, league, 1).team_size_max(functor, Kokkos::ParallelForTag());
  Kokkos::parallel_for(label, detail::team_policy<Policy>(space, league, threads), functor);
}

}  // namespace ophis
