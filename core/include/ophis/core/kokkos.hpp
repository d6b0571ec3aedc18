// The bridge from ExecContext to Kokkos: the one header of core that includes Kokkos. Kernels start their
// work here.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <string>

#include "ophis/core/exec_context.hpp"
#include "ophis/core/simd.hpp"

namespace ophis {

using HostExecSpace = Kokkos::DefaultHostExecutionSpace;

/// Lanes of the packs that kernels use in an execution space: the CPU's vector width, one on a GPU, where a
/// thread is a lane.
template <class ExecSpace>
inline constexpr int pack_width =
    Kokkos::SpaceAccessibility<ExecSpace, Kokkos::HostSpace>::accessible ? native_pack_width : 1;

/// Calls `f(space)` with the Kokkos execution-space instance of the context.
template <class F>
void with_exec_space(ExecContext& exec, F&& f) {
  switch (exec.device().type) {
    case DeviceType::cpu:
      return f(HostExecSpace{});
    default:
      fail(ErrorCode::unsupported, "no execution space for device ", exec.device(), " in this build");
  }
}

/// Runs `functor(i)` for i in [0, count), in any order and in parallel, for small and equal pieces of work: a
/// thread takes a run of them.
template <class ExecSpace, class Functor>
void for_each_element(const ExecSpace& space, const char* label, std::int64_t count, const Functor& functor) {
  using Policy =
      Kokkos::RangePolicy<ExecSpace, Kokkos::Schedule<Kokkos::Static>, Kokkos::IndexType<std::int64_t>>;
  if (count > 0) Kokkos::parallel_for(label, Policy(space, 0, count), functor);
}

/// The same for pieces worth a microsecond or more, which may differ: on the CPU they are handed to threads
/// one by one.
template <class ExecSpace, class Functor>
void for_each_item(const ExecSpace& space, const char* label, std::int64_t count, const Functor& functor) {
  using Policy =
      Kokkos::RangePolicy<ExecSpace, Kokkos::Schedule<Kokkos::Dynamic>, Kokkos::IndexType<std::int64_t>>;
  if (count == 0) return;
  Policy policy(space, 0, count);
  if constexpr (pack_width < ExecSpace >> 1) policy.set_chunk_size(1);
  Kokkos::parallel_for(label, policy, functor);
}

}  // namespace ophis
