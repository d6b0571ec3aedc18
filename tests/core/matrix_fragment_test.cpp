#include "ophis/core/matrix_fragment.hpp"

#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "ophis/core/kokkos.hpp"
#include "tests/support/device.hpp"

namespace ophis {
namespace {

#if defined(KOKKOS_ENABLE_HIP)
constexpr int gpu_lanes = 64;
#else
constexpr int gpu_lanes = 32;
#endif

/// d = d + a b for one tile: a (M, K) and b's transpose (N, K) of T, d (M, N) of float, all dense.
template <class I, class T>
struct TileProduct {
  const T *a, *b;
  float* d;

  OPHIS_INLINE_FUNCTION void run() const {
    FragmentA<I, T> fragment_a;
    FragmentB<I, T> fragment_b;
    FragmentD<I> sums;
    load_a<I, T>(fragment_a, [&](int row, int k) { return a + row * I::K + k; });
    load_b<I, T>(fragment_b, [&](int k, int column) { return b + column * I::K + k; });
    for_each_of_d<I>(sums, [&](int row, int column, float& sum) { sum = d[row * I::N + column]; });
    multiply_add<I, T>(sums, fragment_a, fragment_b);
    for_each_of_d<I>(sums, [&](int row, int column, float& sum) { d[row * I::N + column] = sum; });
  }
  template <class Member>
  KOKKOS_FUNCTION void operator()(const Member&) const {
    run();
  }
};

template <class I, class T>
void run(const TileProduct<I, T>& product) {
  if (test::device() == Device::cpu()) return product.run();
#if defined(OPHIS_HAS_GPU)
  if constexpr (I::lanes == gpu_lanes) {
    ExecContext exec(test::device());
    const GpuExecSpace& space = ExecContextAccess::gpu_space(exec);
    Kokkos::parallel_for("ophis::test::tile_product", Kokkos::TeamPolicy<GpuExecSpace>(space, 1, I::lanes),
                         product);
    exec.fence();
  }
#endif
}

template <class I, class T>
void check_product() {
  if (test::device() != Device::cpu() && I::lanes != gpu_lanes) return;
  std::mt19937 engine(7);
  const auto draw = [&] { return static_cast<float>(static_cast<int>(engine() % 33) - 16) / 8.0f; };
  // Multiples of 1/8 up to 2: every sum is exact, in any order.
  OwnedTensor a(dtype_of<T>, {I::M, I::K}, test::device(), Access::device_and_host);
  OwnedTensor b(dtype_of<T>, {I::N, I::K}, test::device(), Access::device_and_host);
  OwnedTensor d(DType::float32, {I::M, I::N}, test::device(), Access::device_and_host);
  for (std::int64_t i = 0; i < a->count(); ++i) a->data<T>()[i] = T(draw());
  for (std::int64_t i = 0; i < b->count(); ++i) b->data<T>()[i] = T(draw());
  std::vector<float> want;
  for (int i = 0; i < I::M; ++i) {
    for (int j = 0; j < I::N; ++j) {
      float sum = draw();
      d->data<float>()[i * I::N + j] = sum;
      for (int k = 0; k < I::K; ++k) {
        sum +=
            static_cast<float>(a->data<T>()[i * I::K + k]) * static_cast<float>(b->data<T>()[j * I::K + k]);
      }
      want.push_back(sum);
    }
  }
  run(TileProduct<I, T>{a->data<T>(), b->data<T>(), d->data<float>()});
  for (std::size_t i = 0; i < want.size(); ++i) {
    CAPTURE(i);
    REQUIRE(d->data<float>()[i] == want[i]);
  }
}

/// Each element of the matrices is held once, where both tables say.
template <class I>
void check_layout() {
  for (int lane = 0; lane < I::lanes; ++lane) {
    const auto check = [&](int count, auto place, auto lane_of) {
      for (int element = 0; element < count; ++element) {
        const MatrixPlace at = place(lane, element);
        const LaneElement back = lane_of(at.row, at.column);
        REQUIRE(back.lane == lane);
        REQUIRE(back.element == element);
      }
    };
    check(I::a_count, I::a, I::lane_of_a);
    check(I::b_count, I::b, I::lane_of_b);
    check(I::d_count, I::d, I::lane_of_d);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("matrix instructions: both tables of a layout agree", I, Mfma16x16x16, Mfma32x32x8,
                   MmaSync16x8x16) {
  check_layout<I>();
}

TEST_CASE("matrix instructions: single elements lie where the manuals say") {
  // AMD: --register-layout of the calculator. PTX: the figures of mma.m16n8k16.
  CHECK(Mfma16x16x16::a(37, 2) == MatrixPlace{5, 10});
  CHECK(Mfma16x16x16::b(63, 3) == MatrixPlace{15, 15});
  CHECK(Mfma16x16x16::d(18, 1) == MatrixPlace{5, 2});
  CHECK(Mfma32x32x8::a(33, 0) == MatrixPlace{1, 4});
  CHECK(Mfma32x32x8::d(32, 0) == MatrixPlace{4, 0});
  CHECK(Mfma32x32x8::d(3, 4) == MatrixPlace{8, 3});
  CHECK(Mfma32x32x8::d(63, 15) == MatrixPlace{31, 31});
  CHECK(MmaSync16x8x16::a(5, 2) == MatrixPlace{9, 2});
  CHECK(MmaSync16x8x16::a(5, 5) == MatrixPlace{1, 11});
  CHECK(MmaSync16x8x16::b(6, 3) == MatrixPlace{13, 1});
  CHECK(MmaSync16x8x16::d(31, 3) == MatrixPlace{15, 7});
}

TEST_CASE_TEMPLATE("matrix instructions: a tile's product", I, Mfma16x16x16, Mfma32x32x8, MmaSync16x8x16) {
  check_product<I, bfloat16>();
  check_product<I, float16>();
}

TEST_CASE_TEMPLATE("matrix instructions: sums become factors in their lanes", I, Mfma16x16x16, Mfma32x32x8) {
  static_assert(sums_are_factors<I>());
  static_assert(!sums_are_factors<MmaSync16x8x16>());
  FragmentD<I> d;
  for_each_of_d<I>(d, [](int row, int column, float& value) {
    value = static_cast<float>(row * I::N + column);  // below 2048: exact in float16
  });
  for (int step = 0; step < I::M / I::K; ++step) {
    const FragmentB<I, float16> b = to_factor<I, float16>(d, step);
    for (int k = 0; k < I::K; ++k) {
      for (int j = 0; j < I::N; ++j) {
        const LaneElement at = I::lane_of_b(k, j);
        REQUIRE(static_cast<float>(b.of_lane(at.lane)[at.element]) ==
                static_cast<float>((step * I::K + k) * I::N + j));
      }
    }
  }
}

}  // namespace ophis
