// Philox4x32-10, a counter-based random generator: no state, the same numbers on every device.
#pragma once

#include <cstdint>

#include "ophis/core/macros.hpp"

namespace ophis {

/// Four random words.
struct PhiloxWords {
  std::uint32_t word[4];  ///< each uniform in [0, 2^32)
};

/// The random words of a counter under a key (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
/// as 1, 2, 3", SC 2011): ten rounds, each a multiplication of two words and a permutation of all.
OPHIS_INLINE_FUNCTION PhiloxWords philox(PhiloxWords counter, std::uint64_t key) {
  constexpr std::uint64_t multiplier0 = 0xD2511F53, multiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t increment0 = 0x9E3779B9, increment1 = 0xBB67AE85;
  constexpr int rounds = 10;
  auto key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t product0 = multiplier0 * counter.word[0], product1 = multiplier1 * counter.word[2];
    counter = {{static_cast<std::uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0,
                static_cast<std::uint32_t>(product1),
                static_cast<std::uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1,
                static_cast<std::uint32_t>(product0)}};
    key0 += increment0;
    key1 += increment1;
  }
  return counter;
}

}  // namespace ophis
