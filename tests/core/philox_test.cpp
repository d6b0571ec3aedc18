#include "ophis/core/philox.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace ophis;

namespace {

bool gives(PhiloxWords counter, std::uint64_t key, PhiloxWords want) {
  const PhiloxWords got = philox(counter, key);
  return std::equal(got.word, got.word + 4, want.word);
}

}  // namespace

TEST_CASE("philox gives the known answers of Random123") {
  CHECK(gives({{0, 0, 0, 0}}, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
  CHECK(gives({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, 0xffffffffffffffff,
              {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
  CHECK(gives({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0x299f31d0a4093822,
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));
}
