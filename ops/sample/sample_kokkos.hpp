// The portable kernel of sample: every backend, every valid input. A team of threads a row.
#pragma once

#include "ophis/core/kokkos.hpp"
#include "ops/sample/sample_row.hpp"

namespace ophis::sample_kokkos {

using sample_row::Cut;
using sample_row::Race;

/// How many tokens reach each threshold, and their probabilities.
template <int fan, bool weighted>
struct Tally {
  std::uint32_t counts[fan] = {};
  std::int64_t masses[weighted ? fan : 1] = {};

  KOKKOS_INLINE_FUNCTION std::uint32_t count(int i) const { return counts[i]; }
  KOKKOS_INLINE_FUNCTION std::int64_t mass(int i) const {
    if constexpr (weighted) return masses[i];
    return counts[i];
  }
  KOKKOS_INLINE_FUNCTION int reaching(std::int64_t target) const {
    int number = 0;
    for (int i = 0; i < fan; ++i) number += mass(i) >= target ? 1 : 0;
    return number;
  }
  KOKKOS_INLINE_FUNCTION Tally& operator+=(const Tally& other) {
    for (int i = 0; i < fan; ++i) {
      counts[i] += other.counts[i];
      if constexpr (weighted) masses[i] += other.masses[i];
    }
    return *this;
  }
};

}  // namespace ophis::sample_kokkos

template <int fan, bool weighted>
struct Kokkos::reduction_identity<ophis::sample_kokkos::Tally<fan, weighted>> {
  KOKKOS_FORCEINLINE_FUNCTION static ophis::sample_kokkos::Tally<fan, weighted> sum() { return {}; }
};

namespace ophis::sample_kokkos {

/// A row of sample_row.hpp, held by a team.
template <int W, class Team>
struct Row {
  /// Tokens that one thread looks at together: on a GPU neighbouring threads read neighbouring memory, on the
  /// CPU the loops are worth vectorising.
  static constexpr int chunk = W == 1 ? 4 : 64;
  /// Thresholds a pass: a GPU waits for the pass, and can keep no more in registers; a CPU works on each.
  static constexpr int fan = W == 1 ? 5 : 1;

  const Team& team;
  float* x;
  float* p;
  float* largest;  // of x in each chunk; on a GPU none
  std::int64_t vocab;

  /// Whether all values of a chunk are known to be lower.
  KOKKOS_FUNCTION bool is_below([[maybe_unused]] std::int64_t begin, [[maybe_unused]] float value) const {
    if constexpr (W > 1) return largest[begin / chunk] < value;
    return false;
  }

  template <int size, class Body>
  KOKKOS_FUNCTION void for_each_chunk(Body body) const {
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, (vocab + size - 1) / size), [&](std::int64_t i) {
      body(i * size, static_cast<int>(Kokkos::min<std::int64_t>(size, vocab - i * size)));
    });
  }
  /// What `body(begin, count, result)` leaves in the results of all chunks, reduced.
  template <int size, class Reducer, class Body>
  KOKKOS_FUNCTION typename Reducer::value_type reduce_chunks(Body body) const {
    using Value = typename Reducer::value_type;
    Value result{};
    Kokkos::parallel_reduce(
        Kokkos::TeamThreadRange(team, (vocab + size - 1) / size),
        [&](std::int64_t i, Value& partial) {
          body(i * size, static_cast<int>(Kokkos::min<std::int64_t>(size, vocab - i * size)), partial);
        },
        Reducer(result));
    return result;
  }

  KOKKOS_FUNCTION void set_probabilities(float largest, float temperature) const {
    constexpr int size = W == 1 ? 1 : chunk;
    for_each_chunk<size>([&](std::int64_t begin, int count) {
      for (int i = 0; i < count; i += W) {
        const int lanes = Kokkos::min(W, count - i);
        const Pack<W> shifted = load<W>(x + begin + i, 1, lanes) - Pack<W>(largest);
        store(p + begin + i, 1, lanes, exp(shifted / Pack<W>(temperature)));
      }
    });
    team.team_barrier();
  }

  KOKKOS_FUNCTION std::int64_t mass(const Cut& kept) const {
    return reduce_chunks<chunk, Kokkos::Sum<std::int64_t>>(
        [&](std::int64_t begin, int count, std::int64_t& sum) {
          if (is_below(begin, kept.value)) return;
          const auto first = static_cast<std::int32_t>(begin);
          std::int64_t of_chunk = 0;
          for (int i = 0; i < count; ++i) {
            of_chunk += kept.keeps(x[begin + i], first + i) ? sample_row::quantised(p[begin + i]) : 0;
          }
          sum += of_chunk;
        });
  }

  template <bool weighted>
  KOKKOS_FUNCTION Tally<fan, weighted> tally(const Cut& kept, const sample_row::Values& scale) const {
    float thresholds[fan];
    for (int j = 0; j < fan; ++j) thresholds[j] = scale[j];
    return reduce_chunks<chunk, Kokkos::Sum<Tally<fan, weighted>>>(
        [&](std::int64_t begin, int count, Tally<fan, weighted>& sum) {
          if (is_below(begin, thresholds[0])) return;
          const auto first = static_cast<std::int32_t>(begin);
          float values[chunk];
          for (int i = 0; i < count; ++i) {
            const float value = x[begin + i];
            values[i] = kept.keeps(value, first + i) ? value : std::numeric_limits<float>::quiet_NaN();
          }
          for (int j = 0; j < fan; ++j) {
            std::uint32_t above = 0;
            for (int i = 0; i < count; ++i) above += values[i] >= thresholds[j] ? 1 : 0;
            sum.counts[j] += above;
            if constexpr (weighted) {
              std::int64_t mass_above = 0;
              for (int i = 0; i < count; ++i) {
                mass_above += values[i] >= thresholds[j] ? sample_row::quantised(p[begin + i]) : 0;
              }
              sum.masses[j] += mass_above;
            }
          }
        });
  }

  KOKKOS_FUNCTION Tally<fan, false> tally_equals(const Cut& kept, float value,
                                                 const sample_row::Tokens& tokens) const {
    return reduce_chunks<chunk, Kokkos::Sum<Tally<fan, false>>>(
        [&](std::int64_t begin, int count, Tally<fan, false>& sum) {
          if (is_below(begin, value)) return;
          for (int i = 0; i < count; ++i) {
            const auto token = static_cast<std::int32_t>(begin + i);
            if (x[token] != value || !kept.keeps(value, token)) continue;
            for (int j = 0; j < fan; ++j) sum.counts[j] += token <= tokens[j] ? 1 : 0;
          }
        });
  }

  KOKKOS_FUNCTION sample_row::Extremes extremes(const Cut& kept, std::uint32_t low,
                                                std::uint32_t high) const {
    const auto found = reduce_chunks<chunk, Kokkos::MinMax<std::uint32_t>>(
        [&](std::int64_t begin, int count, Kokkos::MinMaxScalar<std::uint32_t>& partial) {
          if (is_below(begin, float_of(low))) return;
          for (int i = 0; i < count; ++i) {
            const auto token = static_cast<std::int32_t>(begin + i);
            const std::uint32_t key = ordered(x[token]);
            if (key < low || key >= high || !kept.keeps(x[token], token)) continue;
            partial.min_val = Kokkos::min(partial.min_val, key);
            partial.max_val = Kokkos::max(partial.max_val, key);
          }
        });
    return {found.min_val, found.max_val};
  }

  KOKKOS_FUNCTION std::uint64_t best_score(const Cut& kept, const Race& race) const {
    return reduce_chunks<chunk, Kokkos::Max<std::uint64_t>>(
        [&](std::int64_t begin, int count, std::uint64_t& best) {
          if (is_below(begin, kept.value)) return;
          constexpr int raced = Race::size<W>;
          for (int i = 0; i < count; i += raced) {
            const std::int64_t first = begin + i;
            const int here = raced < count - i ? raced : count - i;
            best = Kokkos::max(best, race.best<W>(kept, x + first, p + first, first, here));
          }
        });
  }
};

template <class T, class Space>
struct Sample {
  using Team = typename Kokkos::TeamPolicy<Space>::member_type;
  static constexpr int W = pack_width<Space>;
  static constexpr int chunk = Row<W, Team>::chunk;

  sample_row::Operands<T> operands;
  float* x;        // (batch, vocab)
  float* p;        // (batch, vocab)
  float* largest;  // (batch, chunks), on a GPU none
  std::int64_t chunks;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const std::int64_t number = team.league_rank(), vocab = operands.vocab;
    Row<W, Team> row{team, x + number * vocab, p + number * vocab, largest + number * chunks, vocab};
    const std::int64_t drawn = operands.draw(row, number, penalise(row, number));
    Kokkos::single(Kokkos::PerTeam(team), [&] { operands.finish(number, drawn); });
  }

  /// Fills x; returns the rank of the largest.
  KOKKOS_FUNCTION std::uint64_t penalise(const Row<W, Team>& row, std::int64_t number) const {
    const auto penalties = operands.penalties(number);
    return row.template reduce_chunks<chunk, Kokkos::Max<std::uint64_t>>(
        [&](std::int64_t begin, int count, std::uint64_t& first) {
          float largest = -sample_row::infinity;
          bool all_numbers = true;
          for (std::int64_t v = begin; v < begin + count; ++v) {
            const float value = operands.penalised(number, v, penalties);
            row.x[v] = value;
            largest = Kokkos::max(largest, value);
            all_numbers = all_numbers && value == value;
          }
          if constexpr (W > 1) row.largest[begin / chunk] = largest;
          if (all_numbers && largest < sample_row::value_of(first)) return;
          for (std::int64_t v = begin; v < begin + count; ++v) {
            first = Kokkos::max(first, sample_row::rank(row.x[v], v));
          }
        });
  }
};

inline void forward(ExecContext& exec, const SampleArgs& args) {
  const Workspace::Scope scope(exec.workspace());
  const std::int64_t batch = args.logits.extent(0), vocab = args.logits.extent(1);
  float* const x = exec.workspace().take<float>(batch * vocab);
  float* const p = exec.workspace().take<float>(batch * vocab);
  dispatch_compute_dtype(args.logits.dtype(), [&]<class T>(std::type_identity<T>) {
    with_exec_space(exec, [&](const auto& space) {
      using Kernel = Sample<T, std::remove_cvref_t<decltype(space)>>;
      const std::int64_t chunks = Kernel::W > 1 ? (vocab + Kernel::chunk - 1) / Kernel::chunk : 0;
      float* const largest = exec.workspace().take<float>(batch * chunks);
      const sample_row::Operands<T> operands(args);
      for_each_team(space, "ophis::sample", batch, Kernel{operands, x, p, largest, chunks});
    });
  });
}

}  // namespace ophis::sample_kokkos
