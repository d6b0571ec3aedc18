#include "ops/mask_positions/mask_positions_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor MaskPositionsArgs::*> tensors_of() {
  return {&MaskPositionsArgs::x, &MaskPositionsArgs::mask, &MaskPositionsArgs::out};
}

void check_mask_positions(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<MaskPositionsArgs>> problems;
    for (const std::int64_t seqlen : {1, 63, 65}) {
      std::vector<std::int32_t> mask(static_cast<std::size_t>(2 * seqlen));
      for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i % 5 < 2 ? 0 : static_cast<std::int32_t>(i);
      MaskPositionsArgs args;
      args.x = pool.uniform(dtype, {2, seqlen, 19}, -1, 1, {{}, 4});
      args.mask = pool.integers({2, seqlen}, mask);
      args.out = pool.poisoned(dtype, {2, seqlen, 19}, {{0, 2, 1}, 0});
      problems.push_back({detail::concat("seqlen ", seqlen), args, {{"out", &MaskPositionsArgs::out, 0.0}}});
    }
    return problems;
  };
  check_op("mask_positions", exec, mask_positions_impls(), mask_positions_reference, mask_positions,
           make_problems, report);
}

}  // namespace ophis::parity
