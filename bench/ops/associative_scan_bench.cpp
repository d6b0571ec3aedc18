#include "ophis/ops/associative_scan.hpp"

#include <array>

#include "bench/ops/cases.hpp"
#include "ops/common/reference.hpp"

namespace ophis::bench {
namespace {

/// The linear recurrence h_l = a_l h_{l-1} + x_l along an axis of (batch, seqlen, dim).
struct RecurrenceArgs {
  Tensor a, x;
  int axis = 0;
  Tensor products, h;  ///< of all a so far; the states
};

}  // namespace
}  // namespace ophis::bench

template <>
std::vector<ophis::Tensor ophis::bench::RecurrenceArgs::*> ophis::parity::tensors_of() {
  using ophis::bench::RecurrenceArgs;
  return {&RecurrenceArgs::a, &RecurrenceArgs::x, &RecurrenceArgs::products, &RecurrenceArgs::h};
}

namespace ophis::bench {
namespace {

/// Two steps h -> a h + x in a row are one again.
template <class Step>
struct Compose {
  KOKKOS_FUNCTION Step operator()(const Step& earlier, const Step& later) const {
    return {get<0>(earlier) * get<0>(later), get<0>(later) * get<1>(earlier) + get<1>(later)};
  }
};

void recurrence(ExecContext& exec, const RecurrenceArgs& args) {
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T>) {
    using Step = ScanTuple<float, float>;
    associative_scan<T, T>(exec, Compose<Step>{}, {args.a, args.x}, {args.products, args.h},
                           {.axis = args.axis});
  });
}

void recurrence_reference(const RecurrenceArgs& args) {
  const auto rows_first = [&](const Tensor& tensor) { return Elements(tensor.transpose(1, args.axis)); };
  const Elements a = rows_first(args.a), x = rows_first(args.x);
  const Elements products = rows_first(args.products), h = rows_first(args.h);
  const Dims shape = args.x.transpose(1, args.axis).shape();
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    for (std::int64_t j = 0; j < shape[2]; ++j) {
      double product = 1.0, state = 0.0;
      for (std::int64_t l = 0; l < shape[1]; ++l) {
        product *= a(i, l, j);
        state = a(i, l, j) * state + x(i, l, j);
        products.set(product, i, l, j);
        h.set(state, i, l, j);
      }
    }
  }
}

std::span<const Implementation<RecurrenceArgs>> recurrence_impls() {
  static constexpr std::array list{Implementation<RecurrenceArgs>{"kokkos", takes_everything, recurrence}};
  return list;
}

struct Shape {
  std::int64_t batch, seqlen, dim;
  int axis;
};

Configuration<RecurrenceArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  const Dims shape{s.batch, s.seqlen, s.dim};
  const RecurrenceArgs args{pool.uniform(dtype, shape, 0.5, 0.9), pool.uniform(dtype, shape, -1, 1), s.axis,
                            pool.poisoned(dtype, shape), pool.poisoned(dtype, shape)};
  // A step's three roundings fade by 0.9 a step, so those of some ten steps add up.
  return {args,
          {{"products", &RecurrenceArgs::products, 30.0}, {"h", &RecurrenceArgs::h, 30.0}},
          bytes_of({args.a, args.x, args.products, args.h}),
          3.0 * static_cast<double>(args.x.count())};
}

}  // namespace

Cases associative_scan_cases() {
  const Op<RecurrenceArgs> op{"associative_scan", recurrence_impls, recurrence_reference, recurrence};
  Cases cases;
  add_case(cases, op, "recurrence, batch 1, seqlen 2048, dim 1536", make, Shape{1, 2048, 1536, 1},
           Shape{1, 2048, 40, 1});
  add_case(cases, op, "recurrence, rows 1, length 4194304", make, Shape{1, 1, 1 << 22, 2},
           Shape{1, 1, 20000, 2});
  return cases;
}

}  // namespace ophis::bench
