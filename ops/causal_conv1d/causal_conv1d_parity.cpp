#include "ops/causal_conv1d/causal_conv1d_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor CausalConv1dArgs::*> tensors_of() {
  return {&CausalConv1dArgs::x,       &CausalConv1dArgs::weight,
          &CausalConv1dArgs::bias,    &CausalConv1dArgs::initial_states,
          &CausalConv1dArgs::seq_idx, &CausalConv1dArgs::cu_seqlens,
          &CausalConv1dArgs::out,     &CausalConv1dArgs::final_states};
}

template <>
std::vector<Tensor CausalConv1dUpdateArgs::*> tensors_of() {
  return {&CausalConv1dUpdateArgs::x, &CausalConv1dUpdateArgs::conv_state, &CausalConv1dUpdateArgs::weight,
          &CausalConv1dUpdateArgs::bias, &CausalConv1dUpdateArgs::out};
}

namespace {

const Layout channels_last_slice{{0, 1, 2}, 5};
const Layout channels_last_aligned_slice{{0, 1, 2}, 16};
const Layout channels_first{{0, 2, 1}, 0};
const Layout channels_first_slice{{0, 2, 1}, 3};

struct Case {
  const char* name;
  std::int64_t batch, seqlen, dim, width;
  Layout layout;
  bool bias, silu, states, seq_idx, varlen;
};

const Case cases[] = {
    {"one position", 2, 1, 5, 4, {}, true, true, true, false, false},
    {"shorter than the filter", 3, 2, 17, 4, {}, true, false, true, false, false},
    {"seqlen 63, channels last", 2, 63, 40, 4, {}, true, true, false, false, false},
    {"seqlen 64, slice, states", 1, 64, 37, 3, channels_last_slice, true, true, true, false, false},
    {"seqlen 65, width 2", 1, 65, 16, 2, {}, false, false, true, false, false},
    {"seqlen 1000, channels first", 2, 1000, 9, 4, channels_first, true, true, true, false, false},
    {"seqlen 131, channels first slice", 2, 131, 7, 3, channels_first_slice, false, true, false, false,
     false},
    {"width 1", 1, 20, 6, 1, {}, true, true, false, false, false},
    {"width 7", 2, 150, 19, 7, channels_first, true, true, true, false, false},
    {"seq_idx", 2, 200, 33, 4, {}, true, true, true, true, false},
    {"seq_idx, channels first", 1, 200, 5, 4, channels_first, true, true, true, true, false},
    {"seqlen 333, dim 264, aligned slice, states", 2, 333, 264, 4, channels_last_aligned_slice, true, true,
     true, false, false},
    {"seqlen 70, dim 40, width 3", 2, 70, 40, 3, {}, false, true, true, false, false},
    {"seqlen 2051, channels first", 2, 2051, 5, 4, channels_first, true, true, true, false, false},
    {"cu_seqlens", 1, 300, 33, 4, {}, true, true, true, false, true},
    {"cu_seqlens, dim 40", 1, 300, 40, 4, {}, true, true, true, false, true},
    {"cu_seqlens, channels first", 1, 300, 5, 3, channels_first, true, true, false, false, true},
};

Problem<CausalConv1dArgs> make_problem(TensorPool& pool, DType dtype, const Case& c) {
  CausalConv1dArgs args;
  std::int64_t nseq = c.batch;
  if (c.varlen) {
    const auto end = static_cast<std::int32_t>(c.seqlen);
    args.cu_seqlens = pool.integers({6}, {0, 1, 1, 3, end / 2, end});
    nseq = 5;
  }
  args.x = pool.uniform(dtype, {c.batch, c.seqlen, c.dim}, -1, 1, c.layout);
  args.weight = pool.uniform(dtype, {c.dim, c.width}, -1, 1);
  if (c.bias) args.bias = pool.uniform(DType::float32, {c.dim}, -1, 1);
  if (c.states) args.initial_states = pool.uniform(dtype, {nseq, c.dim, c.width - 1}, -1, 1, {{0, 2, 1}, 0});
  if (c.seq_idx) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(c.batch * c.seqlen));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] =
          static_cast<std::int32_t>(i % static_cast<std::size_t>(c.seqlen)) / 37 - 1;  // starts with padding
    }
    args.seq_idx = pool.integers({c.batch, c.seqlen}, values);
  }
  args.activation = c.silu ? Activation::silu : Activation::identity;
  args.out = pool.poisoned(dtype, {c.batch, c.seqlen, c.dim}, c.layout);
  if (c.states) args.final_states = pool.poisoned(dtype, {nseq, c.dim, c.width - 1});
  const double roundings = 2.0 * static_cast<double>(c.width) + 8.0;
  return {
      c.name,
      args,
      {{"out", &CausalConv1dArgs::out, roundings}, {"final_states", &CausalConv1dArgs::final_states, 0.0}}};
}

}  // namespace

std::vector<Problem<CausalConv1dArgs>> causal_conv1d_problems(TensorPool& pool, DType dtype) {
  std::vector<Problem<CausalConv1dArgs>> problems;
  for (const Case& c : cases) problems.push_back(make_problem(pool, dtype, c));
  return problems;
}

void check_causal_conv1d(ExecContext& exec, const Report& report) {
  check_op("causal_conv1d", exec, causal_conv1d_impls(), causal_conv1d_reference, causal_conv1d,
           causal_conv1d_problems, report);
}

void check_causal_conv1d_update(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<CausalConv1dUpdateArgs>> problems;
    for (const std::int64_t width : {1, 2, 3, 4, 9}) {
      for (const std::int64_t extra : {0, 2}) {
        const std::int64_t batch = 3, dim = width == 4 ? 40 : 37, state_len = width - 1 + extra;
        CausalConv1dUpdateArgs args;
        args.x = pool.uniform(dtype, {batch, dim}, -1, 1, {{}, width == 4 ? 8 : 3});
        args.conv_state = pool.uniform(dtype, {batch, dim, state_len}, -1, 1, {{0, 2, 1}, 0});
        args.weight = pool.uniform(DType::float32, {dim, width}, -1, 1);
        if (width != 3) args.bias = pool.uniform(dtype, {dim}, -1, 1);
        args.activation = width == 2   ? Activation::identity
                          : width == 9 ? Activation::gelu
                                       : Activation::silu;
        args.out = pool.poisoned(dtype, {batch, dim});
        const std::string name = detail::concat("width ", width, ", state of ", state_len);
        problems.push_back({name,
                            args,
                            {{"out", &CausalConv1dUpdateArgs::out, 2.0 * static_cast<double>(width) + 8.0},
                             {"conv_state", &CausalConv1dUpdateArgs::conv_state, 0.0, true}}});
      }
    }
    return problems;
  };
  check_op("causal_conv1d_update", exec, causal_conv1d_update_impls(), causal_conv1d_update_reference,
           causal_conv1d_update, make_problems, report);
}

}  // namespace ophis::parity
