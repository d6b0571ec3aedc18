// The final states of causal_conv1d, for the kernels that do not write them along: every backend, every valid
// input.
#pragma once

#include "ophis/core/kokkos.hpp"
#include "ophis/ops/causal_conv1d.hpp"
#include "ops/common/sequences.hpp"
#include "ops/common/strided.hpp"

namespace ophis::causal_conv1d_kokkos {

/// One item: the final state of one channel of one sequence. Slots are written in rising order and read at or
/// above the one being written, so final_states may be the memory of initial_states.
template <class T>
struct FinalState {
  Strided<T, 3> x, initial_states, final_states;
  Strided<std::int32_t, 2> seq_idx;
  SequenceMap sequences;
  std::int64_t dim, width;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const std::int64_t channel = item % dim;
    const std::int64_t index = item / dim;
    const Sequence sequence = sequences[index];
    for (std::int64_t slot = 0; slot < width - 1; ++slot) {
      const std::int64_t at = sequence.end - (width - 1) + slot;
      *final_states.at(index, channel, slot) = input(index, sequence, at, channel);
    }
  }

  KOKKOS_FUNCTION T input(std::int64_t index, const Sequence& sequence, std::int64_t at,
                          std::int64_t channel) const {
    const bool before = at < sequence.begin;
    if (seq_idx && sequence.end > sequence.begin) {
      const std::int64_t owner = before ? sequence.begin : at;
      if (*seq_idx.at(sequence.batch, owner) != *seq_idx.at(sequence.batch, sequence.end - 1)) return T(0.0f);
    }
    if (!before) return *x.at(sequence.batch, at, channel);
    return initial_states ? *initial_states.at(index, channel, at - sequence.begin + width - 1) : T(0.0f);
  }
};

inline void write_final_states(ExecContext& exec, const CausalConv1dArgs& args) {
  if (args.final_states.count() == 0) return;
  const std::int64_t nseq = args.final_states.extent(0), dim = args.x.extent(2);
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    const FinalState<T> final_state{Strided<T, 3>(args.x),
                                    Strided<T, 3>(args.initial_states),
                                    Strided<T, 3>(args.final_states),
                                    Strided<std::int32_t, 2>(args.seq_idx),
                                    SequenceMap(args.cu_seqlens, args.x.extent(1)),
                                    dim,
                                    args.weight.extent(1)};
    with_exec_space(exec, [&](const auto& space) {
      for_each_element(space, "ophis::causal_conv1d::final_state", nseq * dim, final_state);
    });
  });
}

}  // namespace ophis::causal_conv1d_kokkos
