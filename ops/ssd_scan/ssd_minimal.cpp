#include "ops/ssd_scan/ssd_minimal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/common/reference.hpp"

namespace ophis {
namespace {

/// Row-major, zero at first.
class Matrix {
 public:
  Matrix(std::int64_t rows, std::int64_t columns)
      : m_columns(columns), m_values(static_cast<std::size_t>(rows * columns)) {}
  double& operator()(std::int64_t i, std::int64_t j) {
    return m_values[static_cast<std::size_t>(i * m_columns + j)];
  }

 private:
  std::int64_t m_columns;
  std::vector<double> m_values;
};

/// segsum(a)[t, s] = a[s + 1] + ... + a[t] for s <= t, and minus infinity for s > t, so that its exponential
/// is the lower triangular matrix of decays from s to t.
Matrix segsum(const std::vector<double>& a) {
  const auto length = static_cast<std::int64_t>(a.size());
  Matrix sums(length, length);
  for (std::int64_t t = 0; t < length; ++t) {
    for (std::int64_t s = 0; s < length; ++s) {
      if (s > t) sums(t, s) = -std::numeric_limits<double>::infinity();
      if (s < t) sums(t, s) = sums(t - 1, s) + a[static_cast<std::size_t>(t)];
    }
  }
  return sums;
}

/// One head of one sequence.
class Head {
 public:
  Head(const SsdMinimalArgs& args, std::int64_t b, std::int64_t h)
      : m_X(args.X),
        m_A(args.A),
        m_B(args.B),
        m_C(args.C),
        m_Y(args.Y),
        m_b(b),
        m_h(h),
        m_g(h / (args.X.extent(2) / args.B.extent(2))),
        m_length(args.X.extent(1)),
        m_headdim(args.X.extent(3)),
        m_dstate(args.B.extent(3)),
        m_block_len(args.block_len),
        m_blocks((m_length + m_block_len - 1) / m_block_len) {}

  void run(const Elements& initial, const Elements& final_states) const {
    // states[j + 1] is what block j adds to the state by its end, states[0] the initial state; totals[j + 1]
    // is the logarithm of the whole decay of block j.
    std::vector<Matrix> states(1, Matrix(m_headdim, m_dstate));
    std::vector<double> totals(1, 0.0);
    for_each_state_element([&](std::int64_t p, std::int64_t n) {
      if (initial) states[0](p, n) = initial(m_b, m_h, p, n);
    });
    for (std::int64_t block = 0; block < m_blocks; ++block) {
      const std::vector<double> a = log_decays(block);
      Matrix decay = segsum(a);
      within_block(block, a.size(), decay);
      states.push_back(state_of_block(block, a.size(), decay));
      double total = 0.0;
      for (const double step : a) total += step;
      totals.push_back(total);
    }
    // The same recurrence, from block to block: the state before block j is the decayed sum of those before
    // it.
    Matrix decay = segsum(totals);
    for (std::int64_t j = 0; j <= m_blocks; ++j) {
      Matrix before(m_headdim, m_dstate);
      for_each_state_element([&](std::int64_t p, std::int64_t n) {
        for (std::int64_t i = 0; i <= j; ++i)
          before(p, n) += std::exp(decay(j, i)) * states[static_cast<std::size_t>(i)](p, n);
      });
      if (j < m_blocks) {
        from_state(j, before);
      } else {
        for_each_state_element(
            [&](std::int64_t p, std::int64_t n) { final_states.set(before(p, n), m_b, m_h, p, n); });
      }
    }
  }

 private:
  template <class F>
  void for_each_state_element(const F& f) const {
    for (std::int64_t p = 0; p < m_headdim; ++p) {
      for (std::int64_t n = 0; n < m_dstate; ++n) f(p, n);
    }
  }

  std::vector<double> log_decays(std::int64_t block) const {
    std::vector<double> a;
    const std::int64_t end = std::min(m_length, (block + 1) * m_block_len);
    for (std::int64_t l = block * m_block_len; l < end; ++l) a.push_back(m_A(m_b, l, m_h));
    return a;
  }

  /// Y = (exp(segsum(A)) * (C B^T)) X: the block as a masked attention.
  void within_block(std::int64_t block, std::size_t count, Matrix& decay) const {
    const std::int64_t begin = block * m_block_len, end = begin + static_cast<std::int64_t>(count);
    for (std::int64_t t = begin; t < end; ++t) {
      std::vector<double> y(static_cast<std::size_t>(m_headdim));
      for (std::int64_t s = begin; s <= t; ++s) {
        double weight = 0.0;
        for (std::int64_t n = 0; n < m_dstate; ++n) weight += m_C(m_b, t, m_g, n) * m_B(m_b, s, m_g, n);
        weight *= std::exp(decay(t - begin, s - begin));
        for (std::int64_t p = 0; p < m_headdim; ++p)
          y[static_cast<std::size_t>(p)] += weight * m_X(m_b, s, m_h, p);
      }
      for (std::int64_t p = 0; p < m_headdim; ++p) m_Y.set(y[static_cast<std::size_t>(p)], m_b, t, m_h, p);
    }
  }

  /// The state at the block's end, had it begun with none.
  Matrix state_of_block(std::int64_t block, std::size_t count, Matrix& decay) const {
    const auto last = static_cast<std::int64_t>(count) - 1;
    Matrix state(m_headdim, m_dstate);
    for (std::int64_t s = 0; s <= last; ++s) {
      const std::int64_t l = block * m_block_len + s;
      for_each_state_element([&](std::int64_t p, std::int64_t n) {
        state(p, n) += std::exp(decay(last, s)) * m_X(m_b, l, m_h, p) * m_B(m_b, l, m_g, n);
      });
    }
    return state;
  }

  /// Adds to Y what the state before the block contributes.
  void from_state(std::int64_t block, Matrix& before) const {
    double sum = 0.0;
    const std::int64_t end = std::min(m_length, (block + 1) * m_block_len);
    for (std::int64_t l = block * m_block_len; l < end; ++l) {
      sum += m_A(m_b, l, m_h);
      for (std::int64_t p = 0; p < m_headdim; ++p) {
        double y = m_Y(m_b, l, m_h, p);
        for (std::int64_t n = 0; n < m_dstate; ++n) y += std::exp(sum) * m_C(m_b, l, m_g, n) * before(p, n);
        m_Y.set(y, m_b, l, m_h, p);
      }
    }
  }

  Elements m_X, m_A, m_B, m_C, m_Y;
  std::int64_t m_b, m_h, m_g, m_length, m_headdim, m_dstate, m_block_len, m_blocks;
};

}  // namespace

void discretize(const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& X,
                const Tensor& A_discrete) {
  const Elements from_x(x), steps(dt), rates(A), to_X(X), to_A(A_discrete);
  for (std::int64_t b = 0; b < x.extent(0); ++b) {
    for (std::int64_t l = 0; l < x.extent(1); ++l) {
      for (std::int64_t h = 0; h < x.extent(2); ++h) {
        to_A.set(rates(h) * steps(b, l, h), b, l, h);
        for (std::int64_t p = 0; p < x.extent(3); ++p)
          to_X.set(from_x(b, l, h, p) * steps(b, l, h), b, l, h, p);
      }
    }
  }
}

void ssd_minimal(const SsdMinimalArgs& args) {
  OPHIS_REQUIRE(args.block_len >= 1, "ssd_minimal: block_len is ", args.block_len,
                ", but must be at least 1");
  for (std::int64_t b = 0; b < args.X.extent(0); ++b) {
    for (std::int64_t h = 0; h < args.X.extent(2); ++h)
      Head(args, b, h).run(Elements(args.initial_states), Elements(args.final_states));
  }
}

}  // namespace ophis
