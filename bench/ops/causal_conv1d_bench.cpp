#include "bench/ops/cases.hpp"
#include "ops/causal_conv1d/causal_conv1d_impl.hpp"

namespace ophis::bench {
namespace {

constexpr std::int64_t width = 4;

struct Shape {
  std::int64_t batch, seqlen, dim;
  bool channels_first;
};

Configuration<CausalConv1dArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  const parity::Layout layout{s.channels_first ? std::vector{0, 2, 1} : std::vector{0, 1, 2}, 0};
  CausalConv1dArgs args;
  args.x = pool.uniform(dtype, {s.batch, s.seqlen, s.dim}, -1, 1, layout);
  args.weight = pool.uniform(dtype, {s.dim, width}, -1, 1);
  args.bias = pool.uniform(dtype, {s.dim}, -1, 1);
  args.activation = Activation::silu;
  args.out = pool.poisoned(dtype, {s.batch, s.seqlen, s.dim}, layout);
  const double flops = (2.0 * width + 3.0) * static_cast<double>(args.x.count());
  return {args,
          {{"out", &CausalConv1dArgs::out, 2.0 * width + 8.0}},
          bytes_of({args.x, args.weight, args.bias, args.out}),
          flops};
}

struct UpdateShape {
  std::int64_t batch, dim;
};

Configuration<CausalConv1dUpdateArgs> make_update(parity::TensorPool& pool, DType dtype,
                                                  const UpdateShape& s) {
  CausalConv1dUpdateArgs args;
  args.x = pool.uniform(dtype, {s.batch, s.dim}, -1, 1);
  args.conv_state = pool.uniform(dtype, {s.batch, s.dim, width - 1}, -1, 1, {{0, 2, 1}, 0});
  args.weight = pool.uniform(dtype, {s.dim, width}, -1, 1);
  args.bias = pool.uniform(dtype, {s.dim}, -1, 1);
  args.activation = Activation::silu;
  args.out = pool.poisoned(dtype, {s.batch, s.dim});
  const double flops = (2.0 * width + 3.0) * static_cast<double>(args.x.count());
  return {args,
          {{"out", &CausalConv1dUpdateArgs::out, 2.0 * width + 8.0},
           {"conv_state", &CausalConv1dUpdateArgs::conv_state, 0.0, true}},
          bytes_of({args.x, args.conv_state, args.conv_state, args.weight, args.bias, args.out}),
          flops};
}

}  // namespace

Cases causal_conv1d_cases() {
  const Op<CausalConv1dArgs> forward{"causal_conv1d", causal_conv1d_impls, causal_conv1d_reference,
                                     causal_conv1d};
  const Op<CausalConv1dUpdateArgs> update{"causal_conv1d_update", causal_conv1d_update_impls,
                                          causal_conv1d_update_reference, causal_conv1d_update};
  Cases cases;
  const auto add_forward = [&](std::int64_t batch, std::int64_t dim, Worth worth) {
    for (const bool channels_first : {false, true}) {
      add_case(cases, forward,
               detail::concat("batch ", batch, ", seqlen 2048, dim ", dim, ", width 4, channels ",
                              channels_first ? "first" : "last"),
               make, Shape{batch, 2048, dim, channels_first}, Shape{1, 2048, 24, channels_first}, worth);
    }
  };
  add_forward(1, 1792, Worth::everywhere);
  add_forward(8, 5376, Worth::on_gpus);
  for (const std::int64_t batch : {1, 64}) {
    add_case(cases, update, detail::concat("batch ", batch, ", dim 1792, width 4"), make_update,
             UpdateShape{batch, 1792}, UpdateShape{std::min<std::int64_t>(batch, 4), 1792});
  }
  return cases;
}

}  // namespace ophis::bench
