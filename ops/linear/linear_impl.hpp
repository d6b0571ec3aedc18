// The list of implementations, defined in backends/impls, the reference, and the shape of a call that they
// share.
#pragma once

#include <span>
#include <type_traits>

#include "ophis/ops/linear.hpp"
#include "ops/common/implementation.hpp"

namespace ophis {

std::span<const Implementation<LinearArgs>> linear_impls();

/// The definition, in double, on host tensors of any float dtype.
void linear_reference(const LinearArgs& args);

/// A tensor (rows..., features) as (rows, features) with one leading dimension, or an empty one if its rows
/// are not evenly spaced.
Tensor as_matrix(const Tensor& tensor);

/// The product as a GEMM sees it; leading dimensions are in elements.
struct LinearShape {
  std::int64_t rows, in_features, out_features;
  std::int64_t ldx, ldw, ldout;
};
LinearShape linear_shape(const LinearArgs& args);

/// Calls run(part) for the whole product if the rows of x and of out are evenly spaced, else for parts of
/// which that is true. Args are those of a product: x (rows..., in_features) and out (rows..., out_features).
template <class Args, class Run>
void for_each_matrix(const Args& args, const Run& run) {
  if (as_matrix(args.x) && as_matrix(args.out)) return run(args);
  for (std::int64_t i = 0; i < args.x.extent(0); ++i) {
    Args part = args;
    part.x = args.x.select(0, i);
    part.out = args.out.select(0, i);
    for_each_matrix(part, run);
  }
}

/// Calls run(std::type_identity<T>, std::type_identity<Out>) with the types of a product's operands and of
/// its output, which is of the operands' dtype or float32.
template <class Run>
void dispatch_product_dtypes(DType operands, DType out, const Run& run) {
  dispatch_compute_dtype(operands, [&]<class T>(std::type_identity<T> type) {
    if (out == operands)
      run(type, type);
    else
      run(type, std::type_identity<float>{});
  });
}

/// Up to this many rows the product is bound by reading the weight, and the kernel that streams it once is
/// best.
inline constexpr std::int64_t linear_few_rows = 4;

}  // namespace ophis
