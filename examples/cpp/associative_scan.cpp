// A scan with a functor of your own: the linear recurrence h_l = a_l h_{l-1} + x_l, which is the heart of a
// state-space model, for every channel of a sequence at once.
#include <cmath>
#include <cstdio>

#include "ophis/core/buffer.hpp"
#include "ophis/ops/associative_scan.hpp"

namespace {

/// A step h -> a h + x is the pair (a, x). Two steps in a row are one step again, which makes this
/// associative: a2 (a1 h + x1) + x2 = (a1 a2) h + (a2 x1 + x2).
struct LinearRecurrence {
  using Step = ophis::ScanTuple<float, float>;
  KOKKOS_FUNCTION Step operator()(const Step& earlier, const Step& later) const {
    return {get<0>(earlier) * get<0>(later), get<0>(later) * get<1>(earlier) + get<1>(later)};
  }
};

}  // namespace

int main() {
  const std::int64_t seqlen = 2000, channels = 8;
  ophis::ExecContext exec;
  const ophis::OwnedTensor a(ophis::DType::float32, {seqlen, channels}),
      x(ophis::DType::float32, {seqlen, channels});
  const ophis::OwnedTensor decay(ophis::DType::float32, {seqlen, channels}),
      h(ophis::DType::float32, {seqlen, channels});
  for (std::int64_t l = 0; l < seqlen; ++l) {
    for (std::int64_t c = 0; c < channels; ++c) {
      a->data<float>()[l * channels + c] = 1.0f - 0.1f / static_cast<float>(c + 1);
      x->data<float>()[l * channels + c] = std::sin(0.01f * static_cast<float>(l * (c + 1)));
    }
  }

  ophis::associative_scan<float, float>(exec, LinearRecurrence{}, {a, x}, {decay, h}, {.axis = 0});
  exec.fence();

  double worst = 0.0;
  for (std::int64_t c = 0; c < channels; ++c) {
    double state = 0.0;
    for (std::int64_t l = 0; l < seqlen; ++l) {
      state = a->data<float>()[l * channels + c] * state + x->data<float>()[l * channels + c];
      worst = std::fmax(worst, std::fabs(h->data<float>()[l * channels + c] - state));
    }
    std::printf("channel %d ends at %9.5f\n", static_cast<int>(c), state);
  }
  std::printf("largest difference from the loop in double: %.1e\n", worst);
  return worst < 1e-3 ? 0 : 1;
}
