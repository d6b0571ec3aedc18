#include <algorithm>

#include "bench/ops/cases.hpp"
#include "ops/cumsum/cumsum_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t batch, seqlen, dim;
  int axis;
};

Configuration<CumsumArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  CumsumArgs args;
  args.x = pool.uniform(dtype, {s.batch, s.seqlen, s.dim}, 0, 1);
  args.axis = s.axis;
  args.out = pool.poisoned(dtype, {s.batch, s.seqlen, s.dim});
  const std::int64_t last = args.x.extent(s.axis) - 1;
  const std::int64_t additions = std::min<std::int64_t>(last, 511) + last / 512;
  return {args,
          {{"out", &CumsumArgs::out, static_cast<double>(additions) / 2.0}},
          bytes_of({args.x, args.out}),
          static_cast<double>(args.x.count())};
}

}  // namespace

Cases cumsum_cases() {
  const Op<CumsumArgs> op{"cumsum", cumsum_impls, cumsum_reference, cumsum};
  Cases cases;
  add_case(cases, op, "batch 1, seqlen 2048, dim 1792, along seqlen", make, Shape{1, 2048, 1792, 1},
           Shape{1, 2048, 40, 1});
  add_case(cases, op, "rows 4096, length 1024", make, Shape{1, 4096, 1024, 2}, Shape{1, 40, 1024, 2});
  add_case(cases, op, "rows 1, length 4194304", make, Shape{1, 1, 1 << 22, 2}, Shape{1, 1, 20000, 2});
  add_case(cases, op, "rows 1, length 268435456", make, Shape{1, 1, 1 << 28, 2}, Shape{1, 1, 200000, 2},
           Worth::on_gpus);
  add_case(cases, op, "rows 4096, length 65536", make, Shape{1, 4096, 1 << 16, 2}, Shape{1, 2, 1 << 16, 2},
           Worth::on_gpus);
  return cases;
}

}  // namespace ophis::bench
