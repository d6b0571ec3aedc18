#include "bench/ops/cases.hpp"
#include "ops/softmax/softmax_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t rows, n;
};

Configuration<SoftmaxArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  SoftmaxArgs args;
  args.x = pool.uniform(dtype, {s.rows, s.n}, -4, 4);
  args.out = pool.poisoned(dtype, {s.rows, s.n});
  const double roundings = 64.0;  // a block's chain of additions, the chain of blocks, exp
  return {args,
          {{"out", &SoftmaxArgs::out, roundings}},
          bytes_of({args.x, args.out}),
          7.0 * static_cast<double>(args.x.count())};
}

}  // namespace

Cases softmax_cases() {
  const Op<SoftmaxArgs> op{"softmax", softmax_impls, softmax_reference, softmax};
  Cases cases;
  for (const std::int64_t rows : {1, 64}) {
    add_case(cases, op, detail::concat("rows ", rows, ", n 50280"), make, Shape{rows, 50280},
             Shape{1, 50280});
  }
  return cases;
}

}  // namespace ophis::bench
