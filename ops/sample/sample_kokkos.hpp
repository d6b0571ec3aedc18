// The portable kernel of sample: every backend, every valid input. A team of threads a row.
//
// Filters are found by bisection of the logits' values: each pass over the row counts what lies above `fan`
// thresholds. Nothing is sorted, and since probabilities are summed as integers nothing depends on the order
// in which threads add.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>

#include "ophis/core/philox.hpp"
#include "ophis/core/simd_math.hpp"
#include "ophis/ops/sample.hpp"
#include "ops/common/ordered.hpp"
#include "ops/common/strided.hpp"

namespace ophis::sample_kokkos {

inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr std::int32_t no_limit = std::numeric_limits<std::int32_t>::max();

/// Grows with a value and, among equals, falls with the token.
KOKKOS_INLINE_FUNCTION std::uint64_t rank(float value, std::int64_t token) {
  return std::uint64_t{ordered(value)} << 32 | (0xffffffffu - static_cast<std::uint32_t>(token));
}
KOKKOS_INLINE_FUNCTION std::int64_t token_of(std::uint64_t rank) {
  return 0xffffffffu - static_cast<std::uint32_t>(rank);
}
KOKKOS_INLINE_FUNCTION float value_of(std::uint64_t rank) {
  return float_of(static_cast<std::uint32_t>(rank >> 32));
}

/// A probability in [0, 1] in units of 2^-40, rounded: 2^23 of them can be summed. Adding 2^52 leaves the
/// integer in the low bits of a double, which compilers vectorise, as they do not every conversion.
KOKKOS_INLINE_FUNCTION std::int64_t quantised(float p) {
  constexpr double scale = 1099511627776.0, magic = 4503599627370496.0;
  return std::bit_cast<std::int64_t>(static_cast<double>(p) * scale + magic) -
         std::bit_cast<std::int64_t>(magic);
}

/// What a filter keeps: values above one, and of those equal to it the tokens up to `last`.
struct Cut {
  float value = -infinity;
  std::int32_t last = no_limit;

  KOKKOS_INLINE_FUNCTION bool keeps(float x, std::int32_t token) const {
    return x > value || (x == value && token <= last);
  }
  /// What both keep.
  KOKKOS_INLINE_FUNCTION Cut operator&(const Cut& other) const {
    if (value != other.value) return value > other.value ? *this : other;
    return {value, Kokkos::min(last, other.last)};
  }
};

/// How many tokens lie at or above each threshold, and their probabilities.
template <int fan, bool weighted>
struct Tally {
  std::uint32_t counts[fan] = {};
  std::int64_t masses[weighted ? fan : 1] = {};

  KOKKOS_INLINE_FUNCTION std::int64_t mass(int i) const {
    if constexpr (weighted) return masses[i];
    return counts[i];
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

/// One row at work: its logits behind the penalties, and their probabilities.
template <int W, class Team>
struct Row {
  /// Tokens that one thread looks at together: on a GPU neighbouring threads read neighbouring memory, on the
  /// CPU the loops are worth vectorising.
  static constexpr int chunk = W == 1 ? 4 : 64;
  /// Thresholds a pass: a GPU waits for the pass, a CPU works on each threshold.
  static constexpr int fan = W == 1 ? 7 : 1;

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

  /// The probabilities, the largest being 1.
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
            of_chunk += kept.keeps(x[begin + i], first + i) ? quantised(p[begin + i]) : 0;
          }
          sum += of_chunk;
        });
  }

  template <bool weighted>
  KOKKOS_FUNCTION Tally<fan, weighted> tally(const Cut& kept, const float (&thresholds)[fan]) const {
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
                mass_above += values[i] >= thresholds[j] ? quantised(p[begin + i]) : 0;
              }
              sum.masses[j] += mass_above;
            }
          }
        });
  }

  /// The `wanted`-th lowest of the tokens with one value.
  KOKKOS_FUNCTION std::int32_t token_among_equals(const Cut& kept, float value, std::int64_t wanted) const {
    // Up to low there are fewer, up to high there are as many.
    std::int32_t low = -1, high = static_cast<std::int32_t>(vocab) - 1;
    while (high - low > 1) {
      const std::int32_t middle = low + (high - low) / 2;
      const auto found = reduce_chunks<chunk, Kokkos::Sum<std::int64_t>>(
          [&](std::int64_t begin, int count, std::int64_t& sum) {
            for (int i = 0; i < count; ++i) {
              const auto token = static_cast<std::int32_t>(begin + i);
              sum += x[begin + i] == value && token <= middle && kept.keeps(value, token) ? 1 : 0;
            }
          });
      (found >= wanted ? high : low) = middle;
    }
    return high;
  }

  /// The fewest tokens of largest value, out of those kept, whose number (weighted: whose mass) reaches
  /// `target`; all have `total`, and the largest value is `largest`. It is sought within about `reach` of the
  /// largest first.
  template <bool weighted>
  KOKKOS_FUNCTION Cut select(const Cut& kept, float largest, float reach, std::int64_t total,
                             std::int64_t target) const {
    // At or above `low` there is enough, at or above `high` there is not.
    std::uint32_t low = ordered(-infinity), high = ordered(largest) + 1;
    auto low_count = static_cast<std::uint32_t>(vocab), high_count = 0u;
    std::int64_t low_mass = total, high_mass = 0;
    while (high - low > 1 && low_count - high_count > 1) {
      constexpr float lowest = std::numeric_limits<float>::lowest();
      const float top = float_of(high - 1);
      const float bottom = Kokkos::max(Kokkos::max(float_of(low), lowest), top - reach);
      reach *= 64.0f;
      std::uint32_t keys[fan];
      float thresholds[fan];
      for (int j = 0; j < fan; ++j) {
        const float part = static_cast<float>(j + 1) / static_cast<float>(fan + 1);
        keys[j] = Kokkos::clamp(ordered(bottom * (1.0f - part) + top * part), low + 1, high - 1);
        thresholds[j] = float_of(keys[j]);
      }
      const Tally<fan, weighted> found = tally<weighted>(kept, thresholds);
      for (int j = 0; j < fan; ++j) {
        const bool enough = found.mass(j) >= target;
        (enough ? low : high) = keys[j];
        (enough ? low_count : high_count) = found.counts[j];
        (enough ? low_mass : high_mass) = found.mass(j);
        if (!enough) break;
      }
    }
    Cut cut{float_of(low), no_limit};
    const std::int64_t count = low_count - high_count;
    if (count > 1) {
      const std::int64_t each = weighted ? (low_mass - high_mass) / count : 1;
      const std::int64_t wanted = (target - high_mass + each - 1) / each;
      if (wanted < count) cut.last = token_among_equals(kept, cut.value, wanted);
    }
    return cut & kept;
  }

  /// Tokens of one race: at least one block of the generator.
  static constexpr int race_size = Kokkos::max(W, 4);

  /// The rank of the best score among tokens [begin, begin + count), 0 if none is kept.
  KOKKOS_FUNCTION std::uint64_t race(const Cut& kept, float min_p, const PhiloxWords& of_row,
                                     std::uint64_t key, std::int64_t begin, int count) const {
    bool keeps[race_size] = {}, any = false;
    for (int i = 0; i < count; ++i) {
      keeps[i] = kept.keeps(x[begin + i], static_cast<std::int32_t>(begin + i)) && p[begin + i] >= min_p;
      any = any || keeps[i];
    }
    if (!any) return 0;
    // -log(1 - u) = log1p(u / (1 - u)), and u = (2 word + 1) / 2^33.
    float u[race_size], rest[race_size], scores[race_size];
    PhiloxWords counter = of_row;
    for (int i = 0; i < race_size; i += 4) {
      counter.word[0] = static_cast<std::uint32_t>((begin + i) / 4);
      const PhiloxWords words = philox(counter, key);
      for (int k = 0; k < 4; ++k) {
        const std::uint64_t odd = std::uint64_t{words.word[k]} * 2 + 1;
        u[i + k] = static_cast<float>(odd);
        rest[i + k] = static_cast<float>((std::uint64_t{1} << 33) - odd);
      }
    }
    for (int i = 0; i < count; i += W) {
      const Pack<W> time = log1p(load<W>(u + i) / load<W>(rest + i));
      store(scores + i, load<W>(p + begin + i, 1, Kokkos::min(W, count - i)) / time);
    }
    std::uint64_t best = 0;
    for (int i = 0; i < count; ++i) {
      if (keeps[i]) best = Kokkos::max(best, rank(scores[i], begin + i));
    }
    return best;
  }

  /// The winner of the exponential race among the tokens that are kept.
  KOKKOS_FUNCTION std::int64_t draw(const Cut& kept, float min_p, const PhiloxWords& of_row,
                                    std::uint64_t key) const {
    const auto best = reduce_chunks<chunk, Kokkos::Max<std::uint64_t>>(
        [&](std::int64_t begin, int count, std::uint64_t& best) {
          if (is_below(begin, kept.value)) return;
          for (int i = 0; i < count; i += race_size) {
            const int raced = race_size < count - i ? race_size : count - i;
            best = Kokkos::max(best, race(kept, min_p, of_row, key, begin + i, raced));
          }
        });
    return token_of(best);
  }
};

/// A setting (batch) that may not be given.
template <class T>
KOKKOS_INLINE_FUNCTION T value_or(const Strided<T, 1>& setting, std::int64_t row, T otherwise) {
  return setting ? *setting.at(row) : otherwise;
}

template <class T, class Space>
struct Sample {
  using Team = typename Kokkos::TeamPolicy<Space>::member_type;
  static constexpr int W = pack_width<Space>;

  std::int64_t vocab;
  Strided<T, 2> logits;
  Strided<float, 1> temperature, top_p, min_p;
  Strided<float, 1> repetition_penalty, presence_penalty, frequency_penalty;
  Strided<std::int64_t, 1> top_k, seed, sequence, position, out;
  Strided<std::int32_t, 2> prompt_counts, counts;
  float* x;        // (batch, vocab)
  float* p;        // (batch, vocab)
  float* largest;  // (batch, chunks), on a GPU none
  std::int64_t chunks;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const std::int64_t row = team.league_rank();
    const std::int64_t drawn =
        draw({team, x + row * vocab, p + row * vocab, largest + row * chunks, vocab}, row);
    Kokkos::single(Kokkos::PerTeam(team), [&] {
      *out.at(row) = drawn;
      if (counts) ++*counts.at(row, drawn);
      if (position) ++*position.at(row);
    });
  }

  KOKKOS_FUNCTION std::int64_t draw(const Row<W, Team>& tokens, std::int64_t row) const {
    const std::uint64_t first = penalise(tokens, row);
    const float largest = value_of(first), heat = value_or(temperature, row, 1.0f);
    const bool is_finite = largest - largest == 0.0f;
    if (!is_finite || !(heat > 0.0f)) return token_of(first);
    tokens.set_probabilities(largest, heat);
    Cut kept;
    const float reach = 16.0f * heat;
    const std::int64_t k = value_or<std::int64_t>(top_k, row, 0);
    if (k > 0 && k < vocab) kept = tokens.template select<false>(kept, largest, reach, vocab, k);
    const float nucleus = value_or(top_p, row, 1.0f);
    if (nucleus < 1.0f) {
      const std::int64_t total = tokens.mass(kept);
      const double part = static_cast<double>(nucleus) * static_cast<double>(total);
      const auto target = static_cast<std::int64_t>(Kokkos::ceil(part));
      kept = tokens.template select<true>(kept, largest, reach, total, Kokkos::max<std::int64_t>(target, 1));
    }
    const auto at = static_cast<std::uint64_t>(value_or<std::int64_t>(position, row, 0));
    const PhiloxWords counter{{0, static_cast<std::uint32_t>(value_or<std::int64_t>(sequence, row, 0)),
                               static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at >> 32)}};
    return tokens.draw(kept, value_or(min_p, row, 0.0f), counter,
                       static_cast<std::uint64_t>(value_or<std::int64_t>(seed, row, 0)));
  }

  /// Fills x; returns the rank of the largest.
  KOKKOS_FUNCTION std::uint64_t penalise(const Row<W, Team>& tokens, std::int64_t row) const {
    constexpr int size = Row<W, Team>::chunk;
    const float repetition = value_or(repetition_penalty, row, 1.0f);
    const float presence = value_or(presence_penalty, row, 0.0f);
    const float frequency = value_or(frequency_penalty, row, 0.0f);
    return tokens.template reduce_chunks<size, Kokkos::Max<std::uint64_t>>(
        [&](std::int64_t begin, int count, std::uint64_t& first) {
          float largest = -infinity;
          bool all_numbers = true;
          for (std::int64_t v = begin; v < begin + count; ++v) {
            float value = logits(row, v);
            const std::int32_t drawn = counts ? *counts.at(row, v) : 0;
            const bool is_known = drawn > 0 || (prompt_counts && *prompt_counts.at(row, v) > 0);
            if (is_known) value = value > 0.0f ? value / repetition : value * repetition;
            if (drawn > 0) value -= presence + frequency * static_cast<float>(drawn);
            tokens.x[v] = value;
            largest = Kokkos::max(largest, value);
            all_numbers = all_numbers && value == value;
          }
          if constexpr (W > 1) tokens.largest[begin / size] = largest;
          if (all_numbers && largest < value_of(first)) return;
          for (std::int64_t v = begin; v < begin + count; ++v) {
            first = Kokkos::max(first, rank(tokens.x[v], v));
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
      using Space = std::remove_cvref_t<decltype(space)>;
      Sample<T, Space> kernel;
      kernel.vocab = vocab;
      kernel.logits = Strided<T, 2>(args.logits);
      kernel.temperature = Strided<float, 1>(args.temperature);
      kernel.top_p = Strided<float, 1>(args.top_p);
      kernel.min_p = Strided<float, 1>(args.min_p);
      kernel.repetition_penalty = Strided<float, 1>(args.repetition_penalty);
      kernel.presence_penalty = Strided<float, 1>(args.presence_penalty);
      kernel.frequency_penalty = Strided<float, 1>(args.frequency_penalty);
      kernel.top_k = Strided<std::int64_t, 1>(args.top_k);
      kernel.seed = Strided<std::int64_t, 1>(args.seed);
      kernel.sequence = Strided<std::int64_t, 1>(args.sequence);
      kernel.position = Strided<std::int64_t, 1>(args.position);
      kernel.out = Strided<std::int64_t, 1>(args.out);
      kernel.prompt_counts = Strided<std::int32_t, 2>(args.prompt_counts);
      kernel.counts = Strided<std::int32_t, 2>(args.counts);
      kernel.x = x;
      kernel.p = p;
      constexpr int chunk = Row<pack_width<Space>, typename Sample<T, Space>::Team>::chunk;
      kernel.chunks = pack_width<Space> > 1 ? (vocab + chunk - 1) / chunk : 0;
      kernel.largest = exec.workspace().take<float>(batch * kernel.chunks);
      for_each_team(space, "ophis::sample", batch, kernel);
    });
  });
}

}  // namespace ophis::sample_kokkos
