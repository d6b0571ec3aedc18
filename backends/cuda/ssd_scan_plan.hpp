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
/// C . B' of a chunk is kept in float32 as the 10 blocks of 16 x 16 on and below the diagonal, in this order
/// of (row, column): (0,0) (1,1) (2,2) (3,3) (1,0) (2,1) (3,2) (2,0) (3,1) (3,0).
inline constexpr int product_blocks = 10, product_count = product_blocks * 16 * 16;

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

  float* products;        // (batch, segments * segment_chunks, ngroups, product_count), for scan_sm80 only
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

/// Fills plan.products.
template <class T>
void multiply_C_B(const Plan& plan, ExecContext& exec, int dstate);
/// Turns each segment's own state into the state that the next segment starts from.
void combine_segments(const Plan& plan, ExecContext& exec, int dstate);

}  // namespace ophis::ssd_scan_cuda
