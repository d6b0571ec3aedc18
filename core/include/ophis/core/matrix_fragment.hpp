// Fragments: the parts of a matrix that the lanes of a wave (or warp) hold for a matrix instruction.
//
// Code with fragments is written once for a whole wave. On a GPU each lane runs it and keeps its own
// elements; on the CPU a fragment keeps those of all lanes, and multiply_add is a model of the instruction,
// which finds its factors in the lanes where the hardware would: elements that a kernel gave to the wrong
// lane show as a wrong product.
#pragma once

#include <cmath>
#include <type_traits>

#include "ophis/core/matrix_instructions.hpp"
#include "ophis/core/simd.hpp"
#if defined(__HIP__)
#include <hip/hip_runtime.h>
#endif

namespace ophis {

/// `count` elements of each of the lanes.
template <class Element, int count, int lanes>
class Fragment {
 public:
  static constexpr int size = count;
#if OPHIS_ON_GPU
  OPHIS_INLINE_FUNCTION Element* of_lane(int) { return m_elements; }
  OPHIS_INLINE_FUNCTION const Element* of_lane(int) const { return m_elements; }

 private:
  Element m_elements[count];
#else
  Element* of_lane(int lane) { return m_elements[lane]; }
  const Element* of_lane(int lane) const { return m_elements[lane]; }

 private:
  Element m_elements[lanes][count];
#endif
};

template <class Instruction, class T>
using FragmentA = Fragment<T, Instruction::a_count, Instruction::lanes>;
template <class Instruction, class T>
using FragmentB = Fragment<T, Instruction::b_count, Instruction::lanes>;
template <class Instruction>
using FragmentD = Fragment<float, Instruction::d_count, Instruction::lanes>;

/// Calls f(lane) for the lanes that this thread stands for: its own on a GPU, all on the CPU.
template <int lanes, class F>
OPHIS_INLINE_FUNCTION void for_lanes(const F& f) {
#if defined(__HIP_DEVICE_COMPILE__)
  f(static_cast<int>(__lane_id()));
#elif defined(__CUDA_ARCH__)
  int lane;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  f(lane);
#else
  for (int lane = 0; lane < lanes; ++lane) f(lane);
#endif
}

namespace detail {

/// Elements that are aligned to the size of all of them.
template <int run, class T>
OPHIS_INLINE_FUNCTION void load_run(T* to, const T* from) {
  copy_bytes(to, __builtin_assume_aligned(from, run * sizeof(T)), run * sizeof(T));
}

}  // namespace detail

/// The factor a. address(row, k) points to the elements k, k + 1, ... of a row, Instruction::run of them and
/// aligned to their size.
template <class Instruction, class T, class Address>
OPHIS_INLINE_FUNCTION void load_a(FragmentA<Instruction, T>& a, const Address& address) {
  for_lanes<Instruction::lanes>([&](int lane) {
    OPHIS_UNROLL
    for (int i = 0; i < Instruction::a_count; i += Instruction::run) {
      const MatrixPlace place = Instruction::a(lane, i);
      detail::load_run<Instruction::run>(a.of_lane(lane) + i, address(place.row, place.column));
    }
  });
}

/// The factor b, from its transpose: address(k, column) points to the elements k, k + 1, ... of a column.
template <class Instruction, class T, class Address>
OPHIS_INLINE_FUNCTION void load_b(FragmentB<Instruction, T>& b, const Address& address) {
  for_lanes<Instruction::lanes>([&](int lane) {
    OPHIS_UNROLL
    for (int i = 0; i < Instruction::b_count; i += Instruction::run) {
      const MatrixPlace place = Instruction::b(lane, i);
      detail::load_run<Instruction::run>(b.of_lane(lane) + i, address(place.row, place.column));
    }
  });
}

/// Calls f(row, column, element) for the elements of d, which it may change.
template <class Instruction, class F>
OPHIS_INLINE_FUNCTION void for_each_of_d(FragmentD<Instruction>& d, const F& f) {
  for_lanes<Instruction::lanes>([&](int lane) {
    OPHIS_UNROLL
    for (int i = 0; i < Instruction::d_count; ++i) {
      const MatrixPlace place = Instruction::d(lane, i);
      f(place.row, place.column, d.of_lane(lane)[i]);
    }
  });
}

/// Whether the rows [step * K, step * K + K) of d, as they lie in the lanes, are the columns of a factor a
/// (M, K), and the rows of a factor b (K, N).
template <class Instruction>
constexpr bool sums_are_factors() {
  using I = Instruction;
  bool same = I::d_count % I::a_count == 0 && I::a_count == I::b_count;
  for (int item = 0; same && item < I::lanes * I::d_count; ++item) {
    const int lane = item / I::d_count, element = item % I::d_count, first = element / I::a_count * I::K;
    const MatrixPlace d = I::d(lane, element);
    const MatrixPlace a = I::a(lane, element % I::a_count), b = I::b(lane, element % I::b_count);
    same = d == MatrixPlace{first + a.column, a.row} && d == MatrixPlace{first + b.row, b.column};
  }
  return same;
}

/// The rows of d from step * K on, rounded to T: transposed they are a factor a, as they are a factor b. No
/// element changes its lane.
template <class Instruction, class T>
OPHIS_INLINE_FUNCTION FragmentA<Instruction, T> to_factor(const FragmentD<Instruction>& d, int step) {
  static_assert(sums_are_factors<Instruction>());
  FragmentA<Instruction, T> factor;
  for_lanes<Instruction::lanes>([&](int lane) {
    OPHIS_UNROLL
    for (int i = 0; i < Instruction::a_count; ++i) {
      factor.of_lane(lane)[i] = T(d.of_lane(lane)[step * Instruction::a_count + i]);
    }
  });
  return factor;
}

/// Keeps a fragment in memory, lane after lane: `to` has room for lanes * count elements.
template <class T, int count, int lanes>
OPHIS_INLINE_FUNCTION void keep(const Fragment<T, count, lanes>& fragment, T* to) {
  for_lanes<lanes>([&](int lane) {
    detail::copy_bytes(__builtin_assume_aligned(to + lane * count, count * sizeof(T)), fragment.of_lane(lane),
                       count * sizeof(T));
  });
}
template <class T, int count, int lanes>
OPHIS_INLINE_FUNCTION void fetch(Fragment<T, count, lanes>& fragment, const T* from) {
  for_lanes<lanes>([&](int lane) { detail::load_run<count>(fragment.of_lane(lane), from + lane * count); });
}

#if !OPHIS_ON_GPU

namespace detail {

/// What the hardware does, but for the order of its additions: float32 sums of exact products.
template <class Instruction, class T>
void model_multiply_add(FragmentD<Instruction>& d, const FragmentA<Instruction, T>& a,
                        const FragmentB<Instruction, T>& b) {
  const auto element = [](const auto& fragment, LaneElement at) {
    return fragment.of_lane(at.lane)[at.element];
  };
  for (int i = 0; i < Instruction::M; ++i) {
    for (int j = 0; j < Instruction::N; ++j) {
      const LaneElement to = Instruction::lane_of_d(i, j);
      float& sum = d.of_lane(to.lane)[to.element];
      for (int k = 0; k < Instruction::K; ++k) {
        sum = std::fma(static_cast<float>(element(a, Instruction::lane_of_a(i, k))),
                       static_cast<float>(element(b, Instruction::lane_of_b(k, j))), sum);
      }
    }
  }
}

}  // namespace detail

#elif defined(__HIP_DEVICE_COMPILE__)

namespace detail {

template <class Instruction, class T>
__device__ __forceinline__ void mfma(float* d, const T* a, const T* b) {
  using Sums = float __attribute__((ext_vector_type(Instruction::d_count)));
  using Factor =
      std::conditional_t<std::is_same_v<T, bfloat16>, short, _Float16> __attribute__((ext_vector_type(4)));
  Sums sums;
  Factor factors[2];
  copy_bytes(&sums, d, sizeof sums);
  copy_bytes(&factors[0], a, sizeof(Factor));
  copy_bytes(&factors[1], b, sizeof(Factor));
  if constexpr (std::is_same_v<T, bfloat16> && Instruction::M == 16)
    sums = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(factors[0], factors[1], sums, 0, 0, 0);
  else if constexpr (std::is_same_v<T, bfloat16>)
    sums = __builtin_amdgcn_mfma_f32_32x32x8bf16_1k(factors[0], factors[1], sums, 0, 0, 0);
  else if constexpr (Instruction::M == 16)
    sums = __builtin_amdgcn_mfma_f32_16x16x16f16(factors[0], factors[1], sums, 0, 0, 0);
  else
    sums = __builtin_amdgcn_mfma_f32_32x32x8f16(factors[0], factors[1], sums, 0, 0, 0);
  copy_bytes(d, &sums, sizeof sums);
}

}  // namespace detail

#else

namespace detail {

template <class T>
__device__ __forceinline__ void mma_sync(float* d, const T* a, const T* b) {
  std::uint32_t pairs[6];
  copy_bytes(pairs, a, 16);
  copy_bytes(pairs + 4, b, 8);
#if __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, bfloat16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(pairs[0]), "r"(pairs[1]), "r"(pairs[2]), "r"(pairs[3]), "r"(pairs[4]), "r"(pairs[5]));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(pairs[0]), "r"(pairs[1]), "r"(pairs[2]), "r"(pairs[3]), "r"(pairs[4]), "r"(pairs[5]));
  }
#else
  __trap();  // older GPUs have no such instruction, and kernels for them do not come here
#endif
}

}  // namespace detail

#endif

/// d += a b, by all lanes of a wave together. T is bfloat16 or float16. A GPU has the instructions of its
/// vendor.
template <class Instruction, class T>
OPHIS_INLINE_FUNCTION void multiply_add(FragmentD<Instruction>& d, const FragmentA<Instruction, T>& a,
                                        const FragmentB<Instruction, T>& b) {
#if !OPHIS_ON_GPU
  detail::model_multiply_add<Instruction, T>(d, a, b);
#elif defined(__HIP_DEVICE_COMPILE__)
  if constexpr (Instruction::lanes == 64)
    detail::mfma<Instruction, T>(d.of_lane(0), a.of_lane(0), b.of_lane(0));
  else
    __builtin_trap();
#else
  if constexpr (std::is_same_v<Instruction, MmaSync16x8x16>)
    detail::mma_sync<T>(d.of_lane(0), a.of_lane(0), b.of_lane(0));
  else
    __trap();
#endif
}

}  // namespace ophis
