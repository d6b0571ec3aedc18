// The dtypes of the states that the update ops take.
#pragma once

#include <type_traits>

#include "ophis/core/dtype.hpp"

namespace ophis {

/// Calls `f(std::type_identity<T>{}, std::type_identity<S>{})` with the C++ types of the activations and of a
/// state, which is float32 or of the activations' dtype.
template <class F>
void dispatch_with_state(DType dtype, DType state_dtype, F&& f) {
  dispatch_compute_dtype(dtype, [&]<class T>(std::type_identity<T> activations) {
    if constexpr (!std::is_same_v<T, float>) {
      if (state_dtype == dtype) return f(activations, std::type_identity<T>{});
    }
    f(activations, std::type_identity<float>{});
  });
}

}  // namespace ophis
