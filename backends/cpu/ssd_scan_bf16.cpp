// The portable kernel with the CPU's dot products of pairs of bfloat16: twice as many products an instruction
// as in float32.
#include "backends/cpu/ssd_scan_bf16.hpp"

#include "backends/impls/portable.hpp"
#include "ops/ssd_scan/ssd_scan_kokkos.hpp"

#if defined(OPHIS_HAS_AVX512_BF16)

namespace ophis::ssd_scan_bf16 {
namespace {

using ssd_scan_kokkos::block_size;
using ssd_scan_kokkos::PanelOf;

constexpr int W = 16;

/// What Scan multiplies with, in pairs: of neighbours n where sums run over n, of neighbouring positions
/// where they run over positions. Rows are filled up with zeros to whole packs.
template <int packs>
struct BFloat16Products {
  static constexpr int panel_packs = packs;
  static constexpr int panel_width = panel_packs * W;
  static constexpr int rows = 16 / panel_packs;
  using Panel = PanelOf<W, panel_packs>;
  using Mix = bfloat16[block_size][block_size];

  std::uint32_t* B;  // (batch, seqlen, ngroups, row_size), pairs with the next position, for every second one
  bfloat16* C;       // (batch, seqlen, ngroups, row_size)
  std::int64_t ngroups, row_size;

  BFloat16Products(Workspace& workspace, std::int64_t positions, std::int64_t groups, std::int64_t dstate)
      : ngroups(groups), row_size((dstate + W - 1) / W * W) {
    B = workspace.take<std::uint32_t>(positions * ngroups * row_size);
    C = workspace.take<bfloat16>(positions * ngroups * row_size);
  }

  void keep(std::int64_t row, std::int64_t n, bool first_of_pair, Pack<W> b, Pack<W> next_b,
            Pack<W> c) const {
    if (first_of_pair) store_lanes(B + row * row_size + n, to_pairs(b, next_b));
    store(C + row * row_size + n, c);
  }

  /// The float32 state, and behind it the same as pairs of n.
  std::int64_t state_size() const { return row_size * panel_width * 3 / 2; }

  void set_pairs(float* state) const {
    float* const pairs = pairs_of(state);
    for (std::int64_t n = 0; n < row_size; n += 2) {
      for (int k = 0; k < panel_packs; ++k) {
        const float* const from = state + n * panel_width + k * W;
        store_lanes(pairs + n / 2 * panel_width + k * W,
                    to_pairs(load<W>(from), load<W>(from + panel_width)));
      }
    }
  }

  void add_state(std::int64_t row, int t, int count, const float* state, Panel (&sums)[rows]) const {
    const bfloat16* c[rows];
    for (int r = 0; r < rows; ++r) c[r] = C + (row + Kokkos::min(t + r, count - 1) * ngroups) * row_size;
    const float* pairs = pairs_of(state);
    for (std::int64_t n = 0; n < row_size; n += 2, pairs += panel_width) {
      BFloat16Pairs s[panel_packs];
      for (int k = 0; k < panel_packs; ++k) s[k] = load_lanes(pairs + k * W);
      for (int r = 0; r < rows; ++r) add_pair(c[r] + n, s, sums[r].lanes);
    }
  }

  void add_inputs(const Mix& mix, int t, int end, const Panel* inputs, Panel (&sums)[rows]) const {
    for (int s = 0; s < end; s += 2) {
      BFloat16Pairs x[panel_packs];
      for (int k = 0; k < panel_packs; ++k) x[k] = to_pairs(inputs[s].lanes[k], inputs[s + 1].lanes[k]);
      for (int r = 0; r < rows; ++r) add_pair(&mix[t + r][s], x, sums[r].lanes);
    }
  }

  void advance(std::int64_t row, int count, float decay, const float* to_end, const Panel* inputs,
               float* state) const {
    BFloat16Pairs x[block_size / 2][panel_packs];
    for (int s = 0; s < block_size; s += 2) {
      for (int k = 0; k < panel_packs; ++k) {
        x[s / 2][k] = to_pairs(inputs[s].lanes[k] * Pack<W>(to_end[s]),
                               inputs[s + 1].lanes[k] * Pack<W>(to_end[s + 1]));
      }
    }
    float* pairs = pairs_of(state);
    for (std::int64_t begin = 0; begin < row_size; begin += rows) {
      float* const panel = state + begin * panel_width;
      Pack<W> sum[rows][panel_packs];
      for (int n = 0; n < rows; ++n) {
        for (int k = 0; k < panel_packs; ++k)
          sum[n][k] = Pack<W>(decay) * load<W>(panel + n * panel_width + k * W);
      }
      for (int s = 0; s < count; s += 2) {
        const std::uint32_t* const b = B + (row + s * ngroups) * row_size + begin;
        for (int n = 0; n < rows; ++n) add_pair(b + n, x[s / 2], sum[n]);
      }
      for (int n = 0; n < rows; ++n) {
        for (int k = 0; k < panel_packs; ++k) store(panel + n * panel_width + k * W, sum[n][k]);
      }
      for (int n = 0; n < rows; n += 2, pairs += panel_width) {
        for (int k = 0; k < panel_packs; ++k) store_lanes(pairs + k * W, to_pairs(sum[n][k], sum[n + 1][k]));
      }
    }
  }

 private:
  /// The second part of a state: (row_size / 2, panel_width) pairs of neighbours n.
  template <class Float>
  Float* pairs_of(Float* state) const {
    return state + row_size * panel_width;
  }

  static BFloat16Pairs load_lanes(const float* from) {
    BFloat16Pairs lanes;
    detail::copy_bytes(&lanes, from, sizeof lanes);
    return lanes;
  }
  static void store_lanes(void* to, BFloat16Pairs lanes) { detail::copy_bytes(to, &lanes, sizeof lanes); }

  /// The same pair with every lane of a panel's.
  static void add_pair(const void* pair, const BFloat16Pairs (&lanes)[panel_packs],
                       Pack<W> (&sum)[panel_packs]) {
    std::uint32_t both;
    detail::copy_bytes(&both, pair, sizeof both);
    for (int k = 0; k < panel_packs; ++k) sum[k] = dot(BFloat16Pairs{} + both, lanes[k], sum[k]);
  }
};

}  // namespace

void run(ExecContext& exec, const SsdScanArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const std::int64_t sequences = args.cu_seqlens ? args.cu_seqlens.extent(0) - 1 : args.x.extent(0);
  const std::int64_t heads = sequences * args.x.extent(2), headdim = args.x.extent(3);
  with_exec_space(exec, [&](const auto& space) {
    // Wide panels take fewer loads a product, narrow ones are twice as many items.
    if (headdim > BFloat16Products<2>::panel_width && heads >= 2 * space.concurrency())
      ssd_scan_kokkos::run<bfloat16, W, BFloat16Products<4>>(exec, space, args);
    else
      ssd_scan_kokkos::run<bfloat16, W, BFloat16Products<2>>(exec, space, args);
  });
}

}  // namespace ophis::ssd_scan_bf16

#if defined(OPHIS_COMPILED_FOR)
template void ophis::detail::run_compiled_for<ophis::CpuIsa::avx512_bf16, ophis::SsdScanArgs,
                                              ophis::ssd_scan_bf16::run>(ExecContext&, const SsdScanArgs&);
#endif

#endif
