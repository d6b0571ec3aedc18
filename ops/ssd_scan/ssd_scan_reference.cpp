#include <algorithm>
#include <vector>

#include "ops/common/reference.hpp"
#include "ops/ssd_scan/ssd_scan_impl.hpp"

namespace ophis {
namespace {

/// dt with bias, softplus and limits applied.
template <class Args>
double time_step(const Args& args, double raw, std::int64_t head) {
  double dt = raw + (args.dt_bias ? Elements(args.dt_bias)(head) : 0.0);
  if (args.dt_softplus) dt = reference::softplus(dt);
  return std::clamp(dt, args.dt_min, args.dt_max);
}

template <class Args>
double skip(const Args& args, std::int64_t head, std::int64_t p) {
  if (!args.D) return 0.0;
  const Elements D(args.D);
  return args.D.rank() == 2 ? D(head, p) : D(head);
}

}  // namespace

void ssd_scan_reference(const SsdScanArgs& args) {
  const std::int64_t seqlen = args.x.extent(1), nheads = args.x.extent(2), headdim = args.x.extent(3);
  const std::int64_t heads_per_group = nheads / args.B.extent(2), dstate = args.B.extent(3);
  const std::int64_t nseq = args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.x.extent(0);
  const Elements x(args.x), dt(args.dt), A(args.A), B(args.B), C(args.C), z(args.z),
      initial(args.initial_states), seq_idx(args.seq_idx);
  const Elements out(args.out), final_states(args.final_states);

  std::vector<double> state(static_cast<std::size_t>(dstate));
  for (std::int64_t i = 0; i < nseq; ++i) {
    const auto [row, begin, end] = reference::sequence(args.cu_seqlens, seqlen, i);
    for (std::int64_t h = 0; h < nheads; ++h) {
      for (std::int64_t p = 0; p < headdim; ++p) {
        for (std::int64_t n = 0; n < dstate; ++n)
          state[static_cast<std::size_t>(n)] = initial ? initial(i, h, p, n) : 0.0;
        for (std::int64_t l = begin; l < end; ++l) {
          if (seq_idx && l > begin && seq_idx(row, l) != seq_idx(row, l - 1))
            std::fill(state.begin(), state.end(), 0.0);
          const double step = time_step(args, dt(row, l, h), h);
          const double decay = std::exp(step * A(h));
          double y = skip(args, h, p) * x(row, l, h, p);
          for (std::int64_t n = 0; n < dstate; ++n) {
            double& s = state[static_cast<std::size_t>(n)];
            s = decay * s + step * x(row, l, h, p) * B(row, l, h / heads_per_group, n);
            y += C(row, l, h / heads_per_group, n) * s;
          }
          out.set(z ? y * reference::silu(z(row, l, h, p)) : y, row, l, h, p);
        }
        if (!final_states) continue;
        for (std::int64_t n = 0; n < dstate; ++n)
          final_states.set(state[static_cast<std::size_t>(n)], i, h, p, n);
      }
    }
  }
}

void ssd_state_update_reference(const SsdStateUpdateArgs& args) {
  const std::int64_t batch = args.x.extent(0), nheads = args.x.extent(1), headdim = args.x.extent(2);
  const std::int64_t heads_per_group = nheads / args.B.extent(1), dstate = args.B.extent(2);
  const Elements state(args.state), x(args.x), dt(args.dt), A(args.A), B(args.B), C(args.C), z(args.z),
      out(args.out);
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < nheads; ++h) {
      const double step = time_step(args, dt(b, h), h);
      const double decay = std::exp(step * A(h));
      for (std::int64_t p = 0; p < headdim; ++p) {
        double y = skip(args, h, p) * x(b, h, p);
        for (std::int64_t n = 0; n < dstate; ++n) {
          const double s = decay * state(b, h, p, n) + step * x(b, h, p) * B(b, h / heads_per_group, n);
          state.set(s, b, h, p, n);
          y += C(b, h / heads_per_group, n) * s;
        }
        out.set(z ? y * reference::silu(z(b, h, p)) : y, b, h, p);
      }
    }
  }
}

}  // namespace ophis
