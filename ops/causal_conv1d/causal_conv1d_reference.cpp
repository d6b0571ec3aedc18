#include "ops/activation/activation_impl.hpp"
#include "ops/causal_conv1d/causal_conv1d_impl.hpp"
#include "ops/common/reference.hpp"

namespace ophis {

void causal_conv1d_reference(const CausalConv1dArgs& args) {
  const std::int64_t seqlen = args.x.extent(1), dim = args.x.extent(2), width = args.weight.extent(1);
  const std::int64_t nseq = args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.x.extent(0);
  const Elements x(args.x), weight(args.weight), bias(args.bias), initial(args.initial_states),
      seq_idx(args.seq_idx);
  const Elements out(args.out), final_states(args.final_states);

  for (std::int64_t s = 0; s < nseq; ++s) {
    const reference::Span span = reference::sequence(args.cu_seqlens, seqlen, s);
    // The input at position `at`, as a position of sequence `owner` (a value of seq_idx) sees it.
    const auto input = [&](std::int64_t at, double owner, std::int64_t d) {
      if (seq_idx && seq_idx(span.row, at < span.begin ? span.begin : at) != owner) return 0.0;
      if (at >= span.begin) return x(span.row, at, d);
      return initial ? initial(s, d, at - span.begin + width - 1) : 0.0;
    };
    for (std::int64_t d = 0; d < dim; ++d) {
      for (std::int64_t l = span.begin; l < span.end; ++l) {
        const double owner = seq_idx ? seq_idx(span.row, l) : 0.0;
        double y = bias ? bias(d) : 0.0;
        for (std::int64_t k = 0; k < width; ++k) y += weight(d, k) * input(l - (width - 1) + k, owner, d);
        y = reference::apply_activation(args.activation, y);
        out.set(owner < 0 ? 0.0 : y, span.row, l, d);
      }
      if (!final_states) continue;
      const double last_owner = seq_idx && span.end > span.begin ? seq_idx(span.row, span.end - 1) : 0.0;
      for (std::int64_t k = 0; k < width - 1; ++k) {
        final_states.set(input(span.end - (width - 1) + k, last_owner, d), s, d, k);
      }
    }
  }
}

void causal_conv1d_update_reference(const CausalConv1dUpdateArgs& args) {
  const std::int64_t width = args.weight.extent(1), state_len = args.conv_state.extent(2);
  const Elements x(args.x), state(args.conv_state), weight(args.weight), bias(args.bias), out(args.out);
  for (std::int64_t b = 0; b < args.x.extent(0); ++b) {
    for (std::int64_t d = 0; d < args.x.extent(1); ++d) {
      const double input = x(b, d);
      double y = (bias ? bias(d) : 0.0) + weight(d, width - 1) * input;
      for (std::int64_t k = 0; k < width - 1; ++k)
        y += weight(d, k) * state(b, d, state_len - (width - 1) + k);
      for (std::int64_t slot = 0; slot + 1 < state_len; ++slot) state.set(state(b, d, slot + 1), b, d, slot);
      if (state_len > 0) state.set(input, b, d, state_len - 1);
      out.set(reference::apply_activation(args.activation, y), b, d);
    }
  }
}

}  // namespace ophis
