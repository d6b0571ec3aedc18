#include <vector>

#include "ops/common/reference.hpp"
#include "ops/selective_scan/selective_scan_impl.hpp"

namespace ophis {
namespace {

/// B or C as channel d sees it: per step (position..., ngroups, dstate), or constant (dim, dstate).
class Coefficient {
 public:
  Coefficient(const Tensor& tensor, std::int64_t dim) : m_values(tensor), m_constant(tensor.rank() == 2) {
    if (!m_constant) m_channels_per_group = dim / tensor.extent(-2);
  }

  /// `position` is (batch, l) in the scan, (batch) in the update.
  template <class... Position>
  double operator()(std::int64_t d, std::int64_t n, Position... position) const {
    return m_constant ? m_values(d, n) : m_values(position..., d / m_channels_per_group, n);
  }

 private:
  Elements m_values;
  bool m_constant;
  std::int64_t m_channels_per_group = 1;
};

double step_size(double delta, const Elements& bias, std::int64_t d, bool softplus) {
  if (bias) delta += bias(d);
  return softplus ? reference::softplus(delta) : delta;
}

}  // namespace

void selective_scan_reference(const SelectiveScanArgs& args) {
  const std::int64_t seqlen = args.u.extent(1), dim = args.u.extent(2), dstate = args.A.extent(1);
  const std::int64_t nseq = args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.u.extent(0);
  const Elements u(args.u), delta(args.delta), A(args.A), D(args.D), z(args.z), bias(args.delta_bias);
  const Elements initial(args.initial_states), out(args.out), final_states(args.final_states);
  const Coefficient B(args.B, dim), C(args.C, dim);

  for (std::int64_t s = 0; s < nseq; ++s) {
    const reference::Span span = reference::sequence(args.cu_seqlens, seqlen, s);
    for (std::int64_t d = 0; d < dim; ++d) {
      std::vector<double> h(static_cast<std::size_t>(dstate), 0.0);
      for (std::int64_t n = 0; initial && n < dstate; ++n) h[static_cast<std::size_t>(n)] = initial(s, d, n);
      for (std::int64_t l = span.begin; l < span.end; ++l) {
        const double step = step_size(delta(span.row, l, d), bias, d, args.delta_softplus);
        const double input = u(span.row, l, d);
        double y = D ? D(d) * input : 0.0;
        for (std::int64_t n = 0; n < dstate; ++n) {
          double& state = h[static_cast<std::size_t>(n)];
          state = std::exp(step * A(d, n)) * state + step * B(d, n, span.row, l) * input;
          y += C(d, n, span.row, l) * state;
        }
        if (z) y *= reference::silu(z(span.row, l, d));
        out.set(y, span.row, l, d);
      }
      for (std::int64_t n = 0; final_states && n < dstate; ++n) {
        final_states.set(h[static_cast<std::size_t>(n)], s, d, n);
      }
    }
  }
}

void selective_state_update_reference(const SelectiveStateUpdateArgs& args) {
  const std::int64_t dim = args.x.extent(1), dstate = args.A.extent(1);
  const Elements state(args.state), x(args.x), dt(args.dt), A(args.A), D(args.D), z(args.z),
      bias(args.dt_bias), out(args.out);
  const Elements dt_weight(args.dt_weight);
  const auto delta = [&](std::int64_t b, std::int64_t d) {
    if (!dt_weight) return dt(b, d);
    double sum = 0.0;
    for (std::int64_t i = 0; i < args.dt.extent(1); ++i) sum += dt_weight(d, i) * dt(b, i);
    return sum;
  };
  const Coefficient B(args.B, dim), C(args.C, dim);
  for (std::int64_t b = 0; b < args.x.extent(0); ++b) {
    for (std::int64_t d = 0; d < dim; ++d) {
      const double step = step_size(delta(b, d), bias, d, args.dt_softplus);
      double y = D ? D(d) * x(b, d) : 0.0;
      for (std::int64_t n = 0; n < dstate; ++n) {
        const double h = std::exp(step * A(d, n)) * state(b, d, n) + step * B(d, n, b) * x(b, d);
        state.set(h, b, d, n);
        y += C(d, n, b) * h;
      }
      out.set(z ? y * reference::silu(z(b, d)) : y, b, d);
    }
  }
}

}  // namespace ophis
