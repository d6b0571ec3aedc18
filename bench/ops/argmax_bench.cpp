#include "bench/ops/cases.hpp"
#include "ops/argmax/argmax_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t rows, n;
};

Configuration<ArgmaxArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  ArgmaxArgs args;
  args.x = pool.uniform(dtype, {s.rows, s.n}, -4, 4);
  args.out = pool.poisoned(DType::int64, {s.rows});
  return {args, {{"out", &ArgmaxArgs::out, 0.0}}, bytes_of({args.x, args.out}), 0.0};
}

}  // namespace

Cases argmax_cases() {
  const Op<ArgmaxArgs> op{"argmax", argmax_impls, argmax_reference, argmax};
  Cases cases;
  for (const std::int64_t rows : {1, 64}) {
    add_case(cases, op, detail::concat("rows ", rows, ", n 50280"), make, Shape{rows, 50280},
             Shape{1, 50280});
  }
  return cases;
}

}  // namespace ophis::bench
