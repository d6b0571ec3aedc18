// ssd_scan by matrix instructions: what one block of threads does, for the GPU and for the model on the CPU.
//
// A block takes one head of one sequence, chunk after chunk of 64 positions. With the state S (dstate,
// headdim) at a chunk's start, a_l the sum of dt A up to position l of the chunk, and positions j <= i
// ("Transformers are SSMs", 2024, section 6):
//
//     out_i = exp(a_i) C_i S + sum_j (C_i . B_j) exp(a_i - a_j) dt_j x_j
//     S    <- exp(a_63) S + sum_j exp(a_63 - a_j) dt_j B_j x_j
//
// Each wave has its own columns of headdim, and its part of S in registers. It is computed such that sums
// become factors of the next product without leaving their lanes (to_factor): S as (dstate, headdim), and C
// B' as its transpose.
#pragma once

#include "ophis/core/matrix_fragment.hpp"
#include "ophis/core/thread_block.hpp"
#include "ops/common/sequences.hpp"
#include "ops/ssd_scan/ssd_parameters.hpp"

namespace ophis::ssd_scan_mfma {

inline constexpr int chunk = 64;

/// The arguments of a scan, with float32 parameters.
template <class T>
struct Arguments {
  Strided<T, 4> x, B, C, z, out;
  Strided<T, 3> dt;
  Strided<float, 4> initial_states, final_states;
  SequenceMap sequences;
  ssd_scan_kokkos::TimeStep time_step;
  ssd_scan_kokkos::Skip skip;
  const float* A;  // (nheads)
  std::int64_t nheads, heads_per_group;
};

/// One block. `I` is the matrix instruction; a wave has I::N columns of headdim.
template <class I, class T, int headdim, int dstate>
struct Scan {
  static constexpr int waves = headdim / I::N, row_tiles = chunk / I::M, state_tiles = dstate / I::M;
  static constexpr int steps = I::M / I::K;  // factors in a tile of sums
  static constexpr int pairs = row_tiles * (row_tiles + 1) / 2;
  static constexpr int width = 4;    // elements read at a time
  static constexpr int padding = 8;  // of rows in shared memory, against bank conflicts
  static_assert(headdim % I::N == 0 && dstate % I::M == 0 && I::M % I::K == 0);

  using Block = ThreadBlock<waves, I::lanes>;

  struct Shared {
    alignas(16) T C[chunk][dstate + padding];
    alignas(16) T B[dstate][chunk + padding];   // transposed, with the weights of the state's sum
    alignas(16) T x[headdim][chunk + padding];  // transposed
    /// For tiles (i, j) on and below the diagonal, C_i . B_j with its weights, as factors.
    alignas(16) T products[pairs][steps][I::lanes * I::a_count];
    float dt[chunk],
        decay[chunk];  // dt, zero beyond the end; the base-2 exponent of the decay since the start
  };
  struct Registers {
    FragmentD<I> state[state_tiles];
  };

  Arguments<T> args;

  OPHIS_INLINE_FUNCTION void operator()(std::int64_t item, Shared& shared) const {
    const std::int64_t h = item % args.nheads, sequence_index = item / args.nheads;
    const Sequence sequence = args.sequences[sequence_index];
    const Block block;
    Private<Registers, waves> registers;
    block.each_wave([&](int wave) { load_state(registers[wave], sequence_index, h, wave); });
    for (std::int64_t begin = sequence.begin; begin < sequence.end; begin += chunk) {
      const Place at{sequence.batch, begin, h, h / args.heads_per_group,
                     static_cast<int>(sequence.end - begin < chunk ? sequence.end - begin : chunk)};
      stage(block, shared, at);
      weigh(block, shared, at);
      block.each_wave([&](int wave) { multiply_C_B(shared, at, wave); });
      block.each_wave([&](int wave) {
        write_outputs(shared, registers[wave], at, wave);
        advance(shared, registers[wave], wave);
      });
    }
    block.each_wave([&](int wave) { store_state(registers[wave], sequence_index, h, wave); });
  }

 private:
  /// Where a chunk is: its first position, and how many of it are in the sequence.
  struct Place {
    std::int64_t batch, begin, head, group;
    int count;

    /// Position l of the chunk in the tensors. Beyond the sequence's end it is the last one, so that loads
    /// need no condition; what is computed of it has no weight, for dt is zero there.
    OPHIS_INLINE_FUNCTION std::int64_t position(int l) const { return begin + (l < count ? l : count - 1); }
  };

  static OPHIS_INLINE_FUNCTION float exp2(float x) {
#if OPHIS_ON_GPU
    return exp2f(x);
#else
    return std::exp2(x);
#endif
  }

  /// The number of the tile (row, column), column <= row, among the pairs.
  static constexpr OPHIS_INLINE_FUNCTION int pair(int row, int column) {
    return row * (row + 1) / 2 + column;
  }

  template <class F>
  OPHIS_INLINE_FUNCTION void for_each_of_state(Registers& registers, int wave, const F& f) const {
    OPHIS_UNROLL
    for (int tile = 0; tile < state_tiles; ++tile) {
      for_each_of_d<I>(registers.state[tile], [&](int row, int column, float& value) {
        f(tile * I::M + row, wave * I::N + column, value);
      });
    }
  }
  OPHIS_INLINE_FUNCTION void load_state(Registers& registers, std::int64_t i, std::int64_t h,
                                        int wave) const {
    for_each_of_state(registers, wave, [&](int n, int p, float& value) {
      value = args.initial_states ? *args.initial_states.at(i, h, p, n) : 0.0f;
    });
  }
  OPHIS_INLINE_FUNCTION void store_state(Registers& registers, std::int64_t i, std::int64_t h,
                                         int wave) const {
    if (!args.final_states) return;
    for_each_of_state(registers, wave,
                      [&](int n, int p, float& value) { *args.final_states.at(i, h, p, n) = value; });
  }

  /// C, x and dt of a chunk to shared memory; dt is zero beyond the sequence's end.
  OPHIS_INLINE_FUNCTION void stage(const Block& block, Shared& shared, const Place& at) const {
    block.each_item(chunk, [&](int l) {
      const float dt = args.time_step(Pack<1>(args.dt(at.batch, at.position(l), at.head)), at.head).v;
      shared.dt[l] = l < at.count ? dt : 0.0f;
    });
    block.each_item(chunk * dstate / width, [&](int item) {
      const int l = item / (dstate / width), n = item % (dstate / width) * width;
      detail::load_run<width>(&shared.C[l][n], args.C.at(at.batch, at.position(l), at.group, n));
    });
    block.each_item(chunk * headdim / width, [&](int item) {
      const int l = item / (headdim / width), p = item % (headdim / width) * width;
      T values[width];
      detail::load_run<width>(values, args.x.at(at.batch, at.position(l), at.head, p));
      OPHIS_UNROLL
      for (int i = 0; i < width; ++i) shared.x[p + i][l] = values[i];
    });
  }

  /// The decays of a chunk, and B with the weights exp(a_63 - a_j) dt_j.
  OPHIS_INLINE_FUNCTION void weigh(const Block& block, Shared& shared, const Place& at) const {
    constexpr float log2_e = 1.44269504088896341f;
    const float A = args.A[at.head] * log2_e;
    block.each_item(chunk, [&](int l) {
      float sum = 0.0f;
      for (int j = 0; j <= l; ++j) sum += shared.dt[j] * A;
      shared.decay[l] = sum;
    });
    block.each_item(chunk * dstate / width, [&](int item) {
      const int l = item / (dstate / width), n = item % (dstate / width) * width;
      T values[width];
      detail::load_run<width>(values, args.B.at(at.batch, at.position(l), at.group, n));
      const float weight = shared.dt[l] * exp2(shared.decay[chunk - 1] - shared.decay[l]);
      OPHIS_UNROLL
      for (int i = 0; i < width; ++i) shared.B[n + i][l] = T(static_cast<float>(values[i]) * weight);
    });
  }

  /// The products, tile after tile in turns of the waves: (C_i . B_j) exp(a_i - a_j) dt_j, zero for j > i.
  OPHIS_INLINE_FUNCTION void multiply_C_B(Shared& shared, const Place& at, int wave) const {
    for (int row = 0; row < row_tiles; ++row) {
      for (int column = 0; column <= row; ++column) {
        if (pair(row, column) % waves != wave) continue;
        FragmentD<I> sums;  // (j, i)
        for_each_of_d<I>(sums, [](int, int, float& sum) { sum = 0.0f; });
        OPHIS_UNROLL
        for (int n = 0; n < dstate; n += I::K) {
          FragmentA<I, T> B;
          FragmentB<I, T> C;
          load_a<I, T>(B, [&](int j, int k) {
            return args.B.at(at.batch, at.position(column * I::M + j), at.group, n + k);
          });
          load_b<I, T>(C, [&](int k, int i) { return &shared.C[row * I::M + i][n + k]; });
          multiply_add<I, T>(sums, B, C);
        }
        for_each_of_d<I>(sums, [&](int j, int i, float& sum) {
          const int at_j = column * I::M + j, at_i = row * I::M + i;
          const float weight = shared.dt[at_j] * exp2(shared.decay[at_i] - shared.decay[at_j]);
          sum = at_j <= at_i ? sum * weight : 0.0f;
        });
        OPHIS_UNROLL
        for (int step = 0; step < steps; ++step) {
          keep(to_factor<I, T>(sums, step), shared.products[pair(row, column)][step]);
        }
      }
    }
  }

  OPHIS_INLINE_FUNCTION void write_outputs(const Shared& shared, const Registers& registers, const Place& at,
                                           int wave) const {
    for (int row = 0; row < row_tiles; ++row) {
      FragmentD<I> sums;  // (i, p)
      for_each_of_d<I>(sums, [](int, int, float& sum) { sum = 0.0f; });
      OPHIS_UNROLL
      for (int tile = 0; tile < state_tiles; ++tile) {
        OPHIS_UNROLL
        for (int step = 0; step < steps; ++step) {
          FragmentA<I, T> C;
          load_a<I, T>(
              C, [&](int i, int k) { return &shared.C[row * I::M + i][tile * I::M + step * I::K + k]; });
          multiply_add<I, T>(sums, C, to_factor<I, T>(registers.state[tile], step));
        }
      }
      for_each_of_d<I>(sums, [&](int i, int, float& sum) { sum *= exp2(shared.decay[row * I::M + i]); });
      for (int column = 0; column <= row; ++column) {
        OPHIS_UNROLL
        for (int step = 0; step < steps; ++step) {
          FragmentA<I, T> product;
          fetch(product, shared.products[pair(row, column)][step]);
          multiply_add<I, T>(sums, product, load_x(shared, column * I::M + step * I::K, wave));
        }
      }
      for_each_of_d<I>(sums, [&](int i, int column, float& sum) {
        const int l = row * I::M + i, p = wave * I::N + column;
        if (l >= at.count) return;
        float y = sum + args.skip.template at<1>(at.head, p, 1).v * static_cast<float>(shared.x[p][l]);
        if (args.z) y *= silu(Pack<1>(args.z(at.batch, at.begin + l, at.head, p))).v;
        *args.out.at(at.batch, at.begin + l, at.head, p) = T(y);
      });
    }
  }

  OPHIS_INLINE_FUNCTION void advance(const Shared& shared, Registers& registers, int wave) const {
    const float decay = exp2(shared.decay[chunk - 1]);
    OPHIS_UNROLL
    for (int tile = 0; tile < state_tiles; ++tile) {
      for_each_of_d<I>(registers.state[tile], [&](int, int, float& value) { value *= decay; });
      for (int l = 0; l < chunk; l += I::K) {
        FragmentA<I, T> B;
        load_a<I, T>(B, [&](int n, int k) { return &shared.B[tile * I::M + n][l + k]; });
        multiply_add<I, T>(registers.state[tile], B, load_x(shared, l, wave));
      }
    }
  }

  /// x of the positions from l on, in the wave's columns.
  OPHIS_INLINE_FUNCTION FragmentB<I, T> load_x(const Shared& shared, int l, int wave) const {
    FragmentB<I, T> x;
    load_b<I, T>(x, [&](int k, int p) { return &shared.x[wave * I::N + p][l + k]; });
    return x;
  }
};

}  // namespace ophis::ssd_scan_mfma
