#include "bench/ops/cases.hpp"
#include "ops/mask_positions/mask_positions_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  std::int64_t batch, seqlen, dim;
};

Configuration<MaskPositionsArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  std::vector<std::int32_t> mask(static_cast<std::size_t>(s.batch * s.seqlen), 1);
  mask[0] = 0;
  MaskPositionsArgs args;
  args.x = pool.uniform(dtype, {s.batch, s.seqlen, s.dim}, -1, 1);
  args.mask = pool.integers({s.batch, s.seqlen}, mask, DType::int64);
  args.out = pool.poisoned(dtype, {s.batch, s.seqlen, s.dim});
  return {args, {{"out", &MaskPositionsArgs::out, 0.0}}, bytes_of({args.x, args.mask, args.out}), 0.0};
}

}  // namespace

Cases mask_positions_cases() {
  const Op<MaskPositionsArgs> op{"mask_positions", mask_positions_impls, mask_positions_reference,
                                 mask_positions};
  Cases cases;
  add_case(cases, op, "batch 4, seqlen 512, dim 768", make, Shape{4, 512, 768}, Shape{2, 16, 768});
  return cases;
}

}  // namespace ophis::bench
