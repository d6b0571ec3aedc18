// The matrix instructions of GPUs, d (M, N) += a (M, K) b (K, N) with 16-bit factors and float32 sums, and
// which lane of a wave holds which elements.
//
// An instruction tells it twice: `a`, `b` and `d` give the place in the matrix of an element that a lane
// holds, for kernels; `lane_of_a` ... give the lane and the element's number there, for the model of the
// instruction on the CPU. The two were written down from different tables of the sources, so that tests see
// an error in one of them.
#pragma once

namespace ophis {

/// A place in a matrix.
struct MatrixPlace {
  int row, column;
  friend constexpr bool operator==(const MatrixPlace&, const MatrixPlace&) = default;
};

/// A lane and the number of the element among those that it holds.
struct LaneElement {
  int lane, element;
};

/// v_mfma_f32_{M}x{M}x{K}_f16 and _bf16 of AMD's gfx90a and later. ("Register to matrix element mapping" and
/// "Matrix element to register mapping" of the AMD Matrix Instruction Calculator,
/// https://github.com/ROCm/amd_matrix_instruction_calculator; CDNA3 instruction set architecture,
/// section 7.1.)
template <int size, int depth>
struct Mfma {
  static constexpr int M = size, N = size, K = depth, lanes = 64;
  /// Elements of a lane. Those of a and b are neighbours along K, in runs.
  static constexpr int a_count = M * K / lanes, b_count = K * N / lanes, d_count = M * N / lanes, run = 4;

  static constexpr MatrixPlace a(int lane, int element) { return {lane % M, 4 * (lane / M) + element}; }
  static constexpr MatrixPlace b(int lane, int element) { return {4 * (lane / N) + element, lane % N}; }
  static constexpr MatrixPlace d(int lane, int element) {
    return {element / 4 * (4 * lanes / N) + 4 * (lane / N) + element % 4, lane % N};
  }

  static constexpr LaneElement lane_of_a(int i, int k) { return {M * (k / 4) + i, k % 4}; }
  static constexpr LaneElement lane_of_b(int k, int j) { return {N * (k / 4) + j, k % 4}; }
  static constexpr LaneElement lane_of_d(int i, int j) {
    constexpr int blocks = lanes / N;  // of four rows, side by side in the lanes
    return {N * (i / 4 % blocks) + j, 4 * (i / (4 * blocks)) + i % 4};
  }
};

using Mfma16x16x16 = Mfma<16, 16>;
using Mfma32x32x8 = Mfma<32, 8>;

/// mma.sync.aligned.m16n8k16 of NVIDIA's sm_80 and later. (PTX ISA, "Matrix fragments for mma.m16n8k16 with
/// floating point type".)
struct MmaSync16x8x16 {
  static constexpr int M = 16, N = 8, K = 16, lanes = 32;
  static constexpr int a_count = 8, b_count = 4, d_count = 4, run = 2;

  static constexpr MatrixPlace a(int lane, int element) {
    return {lane / 4 + element / 2 % 2 * 8, lane % 4 * 2 + element % 2 + element / 4 * 8};
  }
  static constexpr MatrixPlace b(int lane, int element) {
    return {lane % 4 * 2 + element % 2 + element / 2 * 8, lane / 4};
  }
  static constexpr MatrixPlace d(int lane, int element) {
    return {lane / 4 + element / 2 * 8, lane % 4 * 2 + element % 2};
  }

  static constexpr LaneElement lane_of_a(int i, int k) {
    return {4 * (i % 8) + k % 8 / 2, 4 * (k / 8) + 2 * (i / 8) + k % 2};
  }
  static constexpr LaneElement lane_of_b(int k, int j) { return {4 * j + k % 8 / 2, 2 * (k / 8) + k % 2}; }
  static constexpr LaneElement lane_of_d(int i, int j) { return {4 * (i % 8) + j / 2, 2 * (i / 8) + j % 2}; }
};

}  // namespace ophis
