#include "ophis/ops/associative_scan.hpp"

#include <algorithm>

#include "ops/common/reference.hpp"
#include "tests/support/parity_test.hpp"

using namespace ophis;
using detail::ScanSchedule;
using detail::ScanTypes;
using parity::Layout;
using test::TensorPool;

namespace {

/// x -> a x + b modulo 2^32, the earlier map applied first: exact, associative, not commutative.
struct AffineModulo {
  using Value = ScanTuple<std::int32_t, std::int32_t>;
  KOKKOS_FUNCTION Value operator()(const Value& f, const Value& g) const {
    const auto a1 = static_cast<std::uint32_t>(get<0>(f)), b1 = static_cast<std::uint32_t>(get<1>(f));
    const auto a2 = static_cast<std::uint32_t>(get<0>(g)), b2 = static_cast<std::uint32_t>(get<1>(g));
    return {static_cast<std::int32_t>(a1 * a2), static_cast<std::int32_t>(a2 * b1 + b2)};
  }
};

/// The product (earlier)(later) of 2x2 matrices, modulo 2^64 for integers.
template <class T>
struct MatrixProduct {
  using Value = ScanTuple<T, T, T, T>;
  using Word = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;
  KOKKOS_FUNCTION static T dot(T a, T b, T c, T d) {
    return static_cast<T>(static_cast<Word>(a) * static_cast<Word>(b) +
                          static_cast<Word>(c) * static_cast<Word>(d));
  }
  KOKKOS_FUNCTION Value operator()(const Value& p, const Value& q) const {
    return {dot(get<0>(p), get<0>(q), get<1>(p), get<2>(q)), dot(get<0>(p), get<1>(q), get<1>(p), get<3>(q)),
            dot(get<2>(p), get<0>(q), get<3>(p), get<2>(q)), dot(get<2>(p), get<1>(q), get<3>(p), get<3>(q))};
  }
};

/// h_l = a_l h_{l-1} + b_l.
template <class T>
struct LinearRecurrence {
  using Value = ScanTuple<T, T>;
  KOKKOS_FUNCTION Value operator()(const Value& earlier, const Value& later) const {
    return {get<0>(earlier) * get<0>(later), get<0>(later) * get<1>(earlier) + get<1>(later)};
  }
};

/// The maximum below a limit that only this object knows.
struct ClampedMax {
  std::int64_t limit;
  KOKKOS_FUNCTION ScanTuple<std::int64_t> operator()(const ScanTuple<std::int64_t>& a,
                                                     const ScanTuple<std::int64_t>& b) const {
    return Kokkos::min(limit, Kokkos::max(get<0>(a), get<0>(b)));
  }
};

template <class T>
Tensor random_integers(TensorPool& pool, std::mt19937_64& engine, const Dims& shape,
                       const Layout& layout = {}) {
  const Tensor tensor = pool.poisoned(dtype_of<T>, shape, layout);
  const Elements elements(tensor);
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    tensor.data<T>()[elements.offset_of_position(i)] = static_cast<T>(engine());
  }
  return tensor;
}

template <std::size_t N>
using Tensors = std::array<Tensor, N>;

/// Checks exactly, on tensors of integers, against combining one element after the other.
template <class... Ts, class Combine, std::size_t... I>
bool is_scan(std::index_sequence<I...>, const Combine& combine, const Tensors<sizeof...(Ts)>& x,
             const Tensors<sizeof...(Ts)>& out, int axis, bool reverse) {
  if (axis < 0) axis += x[0].rank();
  const std::int64_t length = x[0].extent(axis);
  std::int64_t inner = 1;
  for (int i = axis + 1; i < x[0].rank(); ++i) inner *= x[0].extent(i);
  for (std::int64_t row = 0; length > 0 && row < x[0].count() / length; ++row) {
    const std::int64_t first = row / inner * length * inner + row % inner;
    const auto element = [&]<class T>(std::type_identity<T>, const Tensor& tensor, std::int64_t l) {
      return tensor.data<T>()[Elements(tensor).offset_of_position(first) + l * tensor.stride(axis)];
    };
    ScanTuple<Ts...> running;
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t l = reverse ? length - 1 - i : i;
      const ScanTuple<Ts...> value(element(std::type_identity<Ts>{}, x[I], l)...);
      running = i == 0 ? value : combine(running, value);
      if (!((element(std::type_identity<Ts>{}, out[I], l) == get<I>(running)) && ...)) return false;
    }
  }
  return true;
}
template <class... Ts, class Combine>
bool is_scan(const Combine& combine, const Tensors<sizeof...(Ts)>& x, const Tensors<sizeof...(Ts)>& out,
             int axis, bool reverse) {
  return is_scan<Ts...>(std::index_sequence_for<Ts...>{}, combine, x, out, axis, reverse);
}

template <class... Ts, class Combine>
void scan(ScanSchedule schedule, ExecContext& exec, const Combine& combine, const Tensors<sizeof...(Ts)>& x,
          const Tensors<sizeof...(Ts)>& out, int axis, bool reverse = false) {
  detail::scan<ScanTypes<Ts...>, ScanTypes<Ts...>>(exec, combine, x, out, axis, reverse, schedule);
  exec.fence();
}

constexpr ScanSchedule schedules[] = {ScanSchedule::automatic, ScanSchedule::rows, ScanSchedule::chunks};

}  // namespace

TEST_CASE("associative_scan is the sequential scan on edge lengths, forward and reverse") {
  ExecContext exec(test::device());
  std::mt19937_64 engine(1);
  for (const std::int64_t length : {0, 1, 63, 64, 65, 511, 512, 513, 1000, 1024, 100000}) {
    for (const Dims& shape : {Dims{length}, Dims{19, length}, Dims{length, 3}, Dims{length, 31}}) {
      if (length == 100000 && element_count(shape) > 300000) continue;
      TensorPool pool(0);
      const int axis = shape[0] == length ? 0 : 1;
      const Tensors<2> x{random_integers<std::int32_t>(pool, engine, shape),
                         random_integers<std::int32_t>(pool, engine, shape)};
      for (const bool reverse : {false, true}) {
        for (const ScanSchedule schedule : schedules) {
          CAPTURE(shape);
          CAPTURE(reverse);
          const Tensors<2> out{pool.poisoned(DType::int32, shape), pool.poisoned(DType::int32, shape)};
          scan<std::int32_t, std::int32_t>(schedule, exec, AffineModulo{}, x, out, axis, reverse);
          CHECK(is_scan<std::int32_t, std::int32_t>(AffineModulo{}, x, out, axis, reverse));
        }
      }
    }
  }
}

TEST_CASE("associative_scan runs along every axis of every layout, and in place") {
  ExecContext exec(test::device());
  TensorPool pool(0);
  std::mt19937_64 engine(2);
  using Word = std::int64_t;
  const std::vector<std::pair<Dims, Layout>> shapes = {
      {{530}, {{}, 2}},
      {{530, 7}, {{1, 0}, 3}},
      {{3, 530, 4}, {{1, 2, 0}, 0}},
      {{2, 3, 530, 4}, {}},
      {{2, 3, 4, 530}, {{3, 0, 2, 1}, 5}},
  };
  for (const auto& entry : shapes) {
    const Dims& shape = entry.first;
    const Layout& layout = entry.second;
    for (int axis = -shape.size(); axis < shape.size(); ++axis) {
      CAPTURE(shape);
      CAPTURE(axis);
      const auto random = [&](const Layout& as) { return random_integers<Word>(pool, engine, shape, as); };
      const Tensors<4> x{random(layout), random({}), random(layout), random({})};
      const bool reverse = axis % 2 != 0;
      for (const ScanSchedule schedule : schedules) {
        Tensors<4> out;
        for (Tensor& tensor : out) tensor = pool.poisoned(DType::int64, shape, layout);
        scan<Word, Word, Word, Word>(schedule, exec, MatrixProduct<Word>{}, x, out, axis, reverse);
        CHECK(is_scan<Word, Word, Word, Word>(MatrixProduct<Word>{}, x, out, axis, reverse));
        Tensors<4> memory;
        std::transform(x.begin(), x.end(), memory.begin(), [&](const Tensor& t) { return pool.clone(t); });
        scan<Word, Word, Word, Word>(schedule, exec, MatrixProduct<Word>{}, memory, memory, axis, reverse);
        CHECK(is_scan<Word, Word, Word, Word>(MatrixProduct<Word>{}, x, memory, axis, reverse));
      }
    }
  }
}

TEST_CASE("associative_scan in reverse is flip, scan, flip, and takes broadcast inputs") {
  ExecContext exec(test::device());
  TensorPool pool(0);
  std::mt19937_64 engine(3);
  const Dims shape{4, 700};
  const auto flipped = [](const Tensor& t) {
    return Tensor(t.data<std::int32_t>() + t.stride(1) * 699, t.dtype(), t.shape(),
                  {t.stride(0), -t.stride(1)}, t.device());
  };
  const Tensor slope = random_integers<std::int32_t>(pool, engine, {4, 1});
  const Tensor a(slope.raw(), DType::int32, shape, {1, 0}, slope.device());
  const Tensor b = random_integers<std::int32_t>(pool, engine, shape);
  const Tensors<2> out{pool.poisoned(DType::int32, shape), pool.poisoned(DType::int32, shape)};
  const Tensors<2> want{pool.poisoned(DType::int32, shape), pool.poisoned(DType::int32, shape)};
  associative_scan<std::int32_t, std::int32_t>(exec, AffineModulo{}, {a, b}, out,
                                               {.axis = 1, .reverse = true});
  associative_scan<std::int32_t, std::int32_t>(exec, AffineModulo{}, {a, flipped(b)},
                                               {flipped(want[0]), flipped(want[1])});
  CHECK(test::same_bits(out[0], want[0]));
  CHECK(test::same_bits(out[1], want[1]));
  CHECK(is_scan<std::int32_t, std::int32_t>(AffineModulo{}, {a, b}, out, 1, true));
}

TEST_CASE("associative_scan copies a functor with its state, and scans one tensor") {
  ExecContext exec(test::device());
  TensorPool pool(0);
  std::mt19937_64 engine(4);
  const Tensor x = random_integers<std::int64_t>(pool, engine, {2000});
  const Tensor out = pool.poisoned(DType::int64, {2000});
  const ClampedMax combine{std::int64_t{1} << 62};
  associative_scan<std::int64_t>(exec, combine, {x}, {out});
  CHECK(is_scan<std::int64_t>(combine, {x}, {out}, 0, false));
  CHECK(out.data<std::int64_t>()[1999] == combine.limit);
}

TEST_CASE("associative_scan of a linear recurrence equals the recurrence, with a dtype for each tensor") {
  ExecContext exec(test::device());
  TensorPool pool(5);
  const std::int64_t length = 3000;
  const Tensor a = pool.uniform(DType::bfloat16, {length}, 0.25, 0.875),
               b = pool.uniform(DType::float32, {length}, -1, 1);
  const Tensor a64 = pool.as_float64(a), b64 = pool.as_float64(b);
  const Tensor decay = pool.poisoned(DType::bfloat16, {length}), h = pool.poisoned(DType::float32, {length});
  const Tensor decay64 = pool.poisoned(DType::float64, {length}),
               h64 = pool.poisoned(DType::float64, {length});
  associative_scan<bfloat16, float>(exec, LinearRecurrence<float>{}, {a, b}, {decay, h});
  associative_scan<double, double>(exec, LinearRecurrence<double>{}, {a64, b64}, {decay64, h64});
  double want = 0.0, worst = 0.0, worst64 = 0.0;
  for (std::int64_t l = 0; l < length; ++l) {
    want = a64.data<double>()[l] * want + b64.data<double>()[l];
    worst = std::max(worst, std::fabs(h.data<float>()[l] - want));
    worst64 = std::max(worst64, std::fabs(h64.data<double>()[l] - want));
  }
  // b_{l-t} reaches h_l with a weight of at most r^t, r = 0.875, after at most 2 t + 2 roundings and one for
  // each of the 5 chunks before: sum_t (2 t + 7) r^t = 2 r / (1 - r)^2 + 7 / (1 - r) = 168 unit roundoffs.
  CHECK(worst <= 168 * 0x1p-24);
  CHECK(worst64 <= 2 * 168 * 0x1p-53);  // the recurrence in double is as far off as the scan
}

TEST_CASE("associative_scan gives a row the same bits however it is scheduled, laid out and accompanied") {
  ExecContext exec(test::device());
  TensorPool pool(6);
  const Dims shape{37, 1500};
  Tensors<4> x;
  for (Tensor& tensor : x) tensor = pool.uniform(DType::float32, shape, -0.9, 0.9);
  const auto poisoned = [&](const Dims& as, const Layout& layout = {}) {
    Tensors<4> tensors;
    for (Tensor& tensor : tensors) tensor = pool.poisoned(DType::float32, as, layout);
    return tensors;
  };
  const auto run = [&](ScanSchedule schedule, const Tensors<4>& in, const Tensors<4>& out, int axis) {
    scan<float, float, float, float>(schedule, exec, MatrixProduct<float>{}, in, out, axis);
  };
  const Tensors<4> want = poisoned(shape);
  run(ScanSchedule::rows, x, want, 1);
  const auto same = [](const Tensors<4>& a, const Tensors<4>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), test::same_bits);
  };
  const auto matches = [&](const Tensors<4>& out) { return same(out, want); };
  const Tensors<4> chunked = poisoned(shape), transposed = poisoned(shape, {{1, 0}, 3}),
                   alone = poisoned(shape);
  run(ScanSchedule::chunks, x, chunked, 1);
  CHECK(matches(chunked));
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::int64_t j = 0; j < x[i].count(); ++j) {
      transposed[i].data<float>()[j % 1500 * transposed[i].stride(1) + j / 1500] = x[i].data<float>()[j];
    }
  }
  run(ScanSchedule::rows, transposed, transposed, 1);
  CHECK(matches(transposed));
  for (std::int64_t row = 0; row < shape[0]; ++row) {
    Tensors<4> in, out;
    for (std::size_t i = 0; i < 4; ++i) {
      in[i] = x[i].select(0, row);
      out[i] = alone[i].select(0, row);
    }
    run(ScanSchedule::automatic, in, out, 0);
  }
  const Tensors<4> together = poisoned(shape);
  run(ScanSchedule::automatic, x, together, 1);
  CHECK(same(alone, together));
  if (test::scans_ignore_layout()) CHECK(matches(together));
}

TEST_CASE("associative_scan names what is wrong with its arguments") {
  ExecContext exec(test::device());
  TensorPool pool(7);
  const Tensor x = pool.uniform(DType::float32, {2, 8}, -1, 1), out = pool.poisoned(DType::float32, {2, 8});
  const Tensor half = pool.poisoned(DType::bfloat16, {2, 8});
  const auto run = [&](const Tensors<2>& in, const Tensors<2>& to, int axis) {
    associative_scan<float, float>(exec, LinearRecurrence<float>{}, in, to, {.axis = axis});
  };
  CHECK_THROWS_WITH(run({x, Tensor()}, {out, out}, 0), "associative_scan: inputs[1] must be given");
  CHECK_THROWS_WITH(run({x, half}, {out, out}, 0),
                    "associative_scan: inputs[1] is bfloat16, but must be float32");
  CHECK_THROWS_WITH(run({x, x}, {out, out.slice(1, 0, 7)}, 0),
                    "associative_scan: outputs[1] has shape (2, 7), but must have (2, 8) as inputs[0] has");
  CHECK_THROWS_WITH(run({x, x}, {out, out}, 2),
                    "associative_scan: axis 2 is not an axis of inputs[0], float32 (2, 8)");
  CHECK_THROWS_WITH(run({x, x}, {out, out}, -3),
                    "associative_scan: axis -3 is not an axis of inputs[0], float32 (2, 8)");
}
