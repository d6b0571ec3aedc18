// How a token is drawn from one row of logits, whoever holds the row: a team of threads, or blocks of a GPU
// that share one.
//
// Filters are found by bisection of the logits' values: each pass over the row counts what lies above `fan`
// thresholds. Nothing is sorted, and since probabilities are summed as integers nothing depends on the order
// in which threads add.
//
// A Row is the holder's view of the row: its logits behind the penalties, and their probabilities. All
// threads of the row call these functions together and get the same from them. It has
//   fan, vocab
//     Thresholds a pass, and tokens of the row.
//   set_probabilities(largest, temperature)
//   mass(kept)
//     Of the tokens that a Cut keeps.
//   tally<weighted>(kept, values)
//     Of those, for each of the Values: how many are at or above it and, if weighted, their mass.
//   tally_equals(kept, value, tokens)
//     Of those of one value, for each of the Tokens: how many are up to it.
//   extremes(kept, low, high)
//     Of those whose values' order is in [low, high): the Extremes.
//   best_score(kept, race)
//     The rank of the winner.
// A tally has count(j) and mass(j) of threshold j, and reaching(target): of how many thresholds the mass (not
// weighted: the count) is at least that.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "ophis/core/philox.hpp"
#include "ophis/core/simd_math.hpp"
#include "ophis/ops/sample.hpp"
#include "ops/common/ordered.hpp"
#include "ops/common/strided.hpp"

namespace ophis::sample_row {

inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr std::int32_t no_limit = std::numeric_limits<std::int32_t>::max();

/// Grows with a value and, among equals, falls with the token.
OPHIS_INLINE_FUNCTION std::uint64_t rank(float value, std::int64_t token) {
  return std::uint64_t{ordered(value)} << 32 | (0xffffffffu - static_cast<std::uint32_t>(token));
}
OPHIS_INLINE_FUNCTION std::int64_t token_of(std::uint64_t rank) {
  return 0xffffffffu - static_cast<std::uint32_t>(rank);
}
OPHIS_INLINE_FUNCTION float value_of(std::uint64_t rank) {
  return float_of(static_cast<std::uint32_t>(rank >> 32));
}

/// A probability in [0, 1] in units of 2^-40, rounded: 2^23 of them can be summed. Adding 2^52 leaves the
/// integer in the low bits of a double, which compilers vectorise, as they do not every conversion.
OPHIS_INLINE_FUNCTION std::int64_t quantised(float p) {
  constexpr double scale = 1099511627776.0, magic = 4503599627370496.0;
  return std::bit_cast<std::int64_t>(static_cast<double>(p) * scale + magic) -
         std::bit_cast<std::int64_t>(magic);
}

/// What a filter keeps: values above one, and of those equal to it the tokens up to `last`.
struct Cut {
  float value = -infinity;
  std::int32_t last = no_limit;

  OPHIS_INLINE_FUNCTION bool keeps(float x, std::int32_t token) const {
    return x > value || (x == value && token <= last);
  }
  /// What both keep.
  OPHIS_INLINE_FUNCTION Cut operator&(const Cut& other) const {
    if (value != other.value) return value > other.value ? *this : other;
    return {value, std::min(last, other.last)};
  }
};

/// Rising values between two, given by their order: those of a linear scale that reaches down from the upper
/// one by `reach` at most.
struct Values {
  std::uint32_t low, high;
  float reach;
  int fan;

  OPHIS_INLINE_FUNCTION std::uint32_t key(int j) const {
    constexpr float lowest = std::numeric_limits<float>::lowest();
    const float top = float_of(high - 1);
    const float bottom = std::max(std::max(float_of(low), lowest), top - reach);
    const float part = static_cast<float>(j + 1) / static_cast<float>(fan + 1);
    return std::clamp(ordered(bottom * (1.0f - part) + top * part), low + 1, high - 1);
  }
  OPHIS_INLINE_FUNCTION float operator[](int j) const { return float_of(key(j)); }
};

/// Rising tokens between two.
struct Tokens {
  std::int32_t low, high;
  int fan;

  OPHIS_INLINE_FUNCTION std::int32_t operator[](int j) const {
    const std::int32_t offset = (high - low) * (j + 1) / (fan + 1);
    return std::clamp(low + offset, low + 1, high - 1);
  }
};

/// The least and the greatest of some values, by their order.
struct Extremes {
  std::uint32_t least, greatest;
};

/// The `wanted`-th lowest of the tokens with one value.
template <class Row>
OPHIS_INLINE_FUNCTION std::int32_t token_among_equals(const Row& row, const Cut& kept, float value,
                                                      std::int64_t wanted) {
  // Up to low there are fewer, up to high there are as many.
  std::int32_t low = -1, high = static_cast<std::int32_t>(row.vocab) - 1;
  while (high - low > 1) {
    const Tokens tokens{low, high, Row::fan};
    const int fewer = Row::fan - row.tally_equals(kept, value, tokens).reaching(wanted);
    if (fewer > 0) low = tokens[fewer - 1];
    if (fewer < Row::fan) high = tokens[fewer];
  }
  return high;
}

/// The fewest tokens of largest value, out of those kept, whose number (weighted: whose mass) reaches
/// `target`; all have `total`, and the largest value is `largest`. It is sought within about `reach` of the
/// largest first.
template <bool weighted, class Row>
OPHIS_INLINE_FUNCTION Cut select(const Row& row, const Cut& kept, float largest, float reach,
                                 std::int64_t total, std::int64_t target) {
  // At or above `low` there is enough, at or above `high` there is not.
  std::uint32_t low = ordered(-infinity), high = ordered(largest) + 1;
  auto low_count = static_cast<std::uint32_t>(row.vocab), high_count = 0u;
  std::int64_t low_mass = total, high_mass = 0;
  while (high - low > 1 && low_count - high_count > 1) {
    const Values values{low, high, reach, Row::fan};
    reach *= 64.0f;
    const std::uint32_t between = low_count - high_count;
    const auto tally = row.template tally<weighted>(kept, values);
    const int enough = tally.reaching(target);
    if (enough > 0) {
      low = values.key(enough - 1);
      low_count = tally.count(enough - 1);
      low_mass = tally.mass(enough - 1);
    }
    if (enough < Row::fan) {
      high = values.key(enough);
      high_count = tally.count(enough);
      high_mass = tally.mass(enough);
    }
    if (low_count - high_count == between) {  // they are close, or equal, as many of 16 bits are
      const Extremes found = row.extremes(kept, low, high);
      low = found.least;
      high = found.greatest + 1;
    }
  }
  Cut cut{float_of(low), no_limit};
  const std::int64_t count = low_count - high_count;
  if (count > 1) {
    const std::int64_t each = weighted ? (low_mass - high_mass) / count : 1;
    const std::int64_t wanted = (target - high_mass + each - 1) / each;
    if (wanted < count) cut.last = token_among_equals(row, kept, cut.value, wanted);
  }
  return cut & kept;
}

/// The exponential race of a row.
struct Race {
  float min_p;
  PhiloxWords counter;  // its first word is that of the token
  std::uint64_t key;

  /// Tokens that are raced together, on packs of W: at least one block of the generator.
  template <int W>
  static constexpr int size = std::max(W, 4);

  /// The rank of the best score among tokens [begin, begin + count), whose values and probabilities are x and
  /// p; 0 if none is kept. `begin` is a multiple of 4, `count` at most size<W>.
  template <int W>
  OPHIS_INLINE_FUNCTION std::uint64_t best(const Cut& kept, const float* x, const float* p,
                                           std::int64_t begin, int count) const {
    bool keeps[size<W>] = {}, any = false;
    for (int i = 0; i < count; ++i) {
      keeps[i] = kept.keeps(x[i], static_cast<std::int32_t>(begin + i)) && p[i] >= min_p;
      any = any || keeps[i];
    }
    if (!any) return 0;
    // -log(1 - u) = log1p(u / (1 - u)), and u = (2 word + 1) / 2^33.
    float u[size<W>], rest[size<W>], scores[size<W>];
    PhiloxWords of_block = counter;
    for (int i = 0; i < size<W>; i += 4) {
      of_block.word[0] = static_cast<std::uint32_t>((begin + i) / 4);
      const PhiloxWords words = philox(of_block, key);
      for (int k = 0; k < 4; ++k) {
        const std::uint64_t odd = std::uint64_t{words.word[k]} * 2 + 1;
        u[i + k] = static_cast<float>(odd);
        rest[i + k] = static_cast<float>((std::uint64_t{1} << 33) - odd);
      }
    }
    for (int i = 0; i < count; i += W) {
      const Pack<W> time = log1p(load<W>(u + i) / load<W>(rest + i));
      store(scores + i, load<W>(p + i, 1, std::min(W, count - i)) / time);
    }
    std::uint64_t best = 0;
    for (int i = 0; i < count; ++i) {
      if (keeps[i]) best = std::max(best, rank(scores[i], begin + i));
    }
    return best;
  }
};

/// The arguments of sample as kernels read them.
template <class T>
struct Operands {
  std::int64_t vocab;
  Strided<T, 2> logits;
  Strided<float, 1> temperature, top_p, min_p;
  Strided<float, 1> repetition_penalty, presence_penalty, frequency_penalty;
  Strided<std::int64_t, 1> top_k, seed, sequence, position, out;
  Strided<std::int32_t, 2> prompt_counts, counts;

  explicit Operands(const SampleArgs& args)
      : vocab(args.logits.extent(1)),
        logits(args.logits),
        temperature(args.temperature),
        top_p(args.top_p),
        min_p(args.min_p),
        repetition_penalty(args.repetition_penalty),
        presence_penalty(args.presence_penalty),
        frequency_penalty(args.frequency_penalty),
        top_k(args.top_k),
        seed(args.seed),
        sequence(args.sequence),
        position(args.position),
        out(args.out),
        prompt_counts(args.prompt_counts),
        counts(args.counts) {}

  /// A setting (batch) that may not be given.
  template <class Setting>
  OPHIS_INLINE_FUNCTION static Setting value_or(const Strided<Setting, 1>& setting, std::int64_t row,
                                                Setting otherwise) {
    return setting ? *setting.at(row) : otherwise;
  }

  struct Penalties {
    float repetition, presence, frequency;
  };
  OPHIS_INLINE_FUNCTION Penalties penalties(std::int64_t row) const {
    return {value_or(repetition_penalty, row, 1.0f), value_or(presence_penalty, row, 0.0f),
            value_or(frequency_penalty, row, 0.0f)};
  }
  /// The logit of a token behind the row's penalties.
  OPHIS_INLINE_FUNCTION float penalised(std::int64_t row, std::int64_t token,
                                        const Penalties& penalties) const {
    float value = logits(row, token);
    const std::int32_t drawn = counts ? *counts.at(row, token) : 0;
    const bool is_known = drawn > 0 || (prompt_counts && *prompt_counts.at(row, token) > 0);
    if (is_known) value = value > 0.0f ? value / penalties.repetition : value * penalties.repetition;
    if (drawn > 0) value -= penalties.presence + penalties.frequency * static_cast<float>(drawn);
    return value;
  }

  /// The token that row `number` draws, whose first largest value has the rank `first`.
  template <class Row>
  OPHIS_INLINE_FUNCTION std::int64_t draw(Row& row, std::int64_t number, std::uint64_t first) const {
    const float largest = value_of(first), heat = value_or(temperature, number, 1.0f);
    const bool is_finite = largest - largest == 0.0f;
    if (!is_finite || !(heat > 0.0f)) return token_of(first);
    row.set_probabilities(largest, heat);
    Cut kept;
    const float reach = 16.0f * heat;
    const std::int64_t k = value_or<std::int64_t>(top_k, number, 0);
    if (k > 0 && k < vocab) kept = select<false>(row, kept, largest, reach, vocab, k);
    const float nucleus = value_or(top_p, number, 1.0f);
    if (nucleus < 1.0f) {
      const std::int64_t total = row.mass(kept);
      const double part = static_cast<double>(nucleus) * static_cast<double>(total);
      const auto target = static_cast<std::int64_t>(std::ceil(part));
      kept = select<true>(row, kept, largest, reach, total, std::max<std::int64_t>(target, 1));
    }
    const auto at = static_cast<std::uint64_t>(value_or<std::int64_t>(position, number, 0));
    const PhiloxWords counter{{0, static_cast<std::uint32_t>(value_or<std::int64_t>(sequence, number, 0)),
                               static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at >> 32)}};
    const Race race{value_or(min_p, number, 0.0f), counter,
                    static_cast<std::uint64_t>(value_or<std::int64_t>(seed, number, 0))};
    return token_of(row.best_score(kept, race));
  }

  /// Writes what row `number` drew.
  OPHIS_INLINE_FUNCTION void finish(std::int64_t number, std::int64_t drawn) const {
    *out.at(number) = drawn;
    if (counts) ++*counts.at(number, drawn);
    if (position) ++*position.at(number);
  }
};

}  // namespace ophis::sample_row
