// What the kernels of ssd_scan_cuda are told: the arguments, how the work is cut, and the memory between
// them.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "ophis/core/exec_context.hpp"

namespace ophis::ssd_scan_cuda {

/// Positions that are computed together, and rows of headdim that four warps compute: a head, or a part of
/// one.
inline constexpr int chunk = 64, panel = 64;
/// What a block hands over for a panel: the state, the sum of its logarithmic decays, and padding.
inline constexpr int handoff_extra = 4;

/// In elements; the innermost axis is dense.
struct Rows {
  std::int64_t batch, position, head;
};

/// A, D or dt_bias.
struct Parameter {
  const void* data;  // nullptr: not given
  DType dtype;
  std::int64_t head, element;  // strides
};

struct States {
  float* data;                    // nullptr: not given
  std::int64_t batch, head, row;  // strides; columns are dense, and pairs of them aligned
};

struct Plan {
  const void *x, *B, *C, *dt, *z;
  void* out;
  Rows x_rows, B_rows, C_rows, dt_rows, z_rows, out_rows;
  Parameter A, D, dt_bias;
  float dt_min, dt_max;
  bool dt_softplus;
  States initial_states, final_states;

  std::int64_t seqlen;
  int batch, nheads, ngroups;
  int panels_per_head;  // headdim / panel
  /// Each sequence is cut into segments that run side by side, of so many chunks; chunks beyond seqlen count
  /// as absent positions.
  int segments, segment_chunks;

  float* segment_states;  // (batch, segments, nheads * panels_per_head, panel * dstate) in the order of
                          // registers
  float* segment_decays;  // (batch, segments, nheads * panels_per_head) log2
  float* handoff;  // (blocks, heads per block, panel * dstate + handoff_extra) in the order of registers
  int* ready;      // (2, blocks, heads per block) flags of handoff
};

/// The maps that the copy engine of sm_90 reads x, B and C and writes out through.
struct TensorMaps {
  CUtensorMap x, B, C, out;
};

/// Launches. `multiprocessors` bounds the number of blocks; `heads` is the number of panels a block works on.
struct Launch {
  ExecContext& exec;
  int multiprocessors;
  int heads = 1;
};

template <class T>
void scan_sm80(const Plan& plan, const Launch& launch, int dstate);
template <class T>
void scan_sm90(const Plan& plan, const TensorMaps& maps, const Launch& launch, int dstate);
/// Bytes of shared memory that a block of scan_sm80 takes at most.
int shared_memory_sm80();

/// Turns each segment's own state into the state that the next segment starts from.
void combine_segments(const Plan& plan, ExecContext& exec, int dstate);

}  // namespace ophis::ssd_scan_cuda
