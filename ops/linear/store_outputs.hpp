// How products write what they have summed up.
#pragma once

#include "ophis/core/simd.hpp"

namespace ophis {

/// Stores the first `count` lanes as outputs: added to what is there with `accumulate`, then rounded.
template <class Out, int W>
OPHIS_INLINE_FUNCTION void store_outputs(Out* to, int count, Pack<W> sums, bool accumulate) {
  if (accumulate) sums += load<W>(to, 1, count);
  store(to, 1, count, sums);
}

}  // namespace ophis
