// The portable kernel of mask_positions.
#pragma once

#include "ophis/core/kokkos.hpp"
#include "ophis/ops/mask_positions.hpp"
#include "ops/common/strided.hpp"

namespace ophis::mask_positions_kokkos {

/// Threads of a GPU for a position.
inline constexpr int group_size = 128;

/// One item: one position, all its elements.
template <class T, class Mask>
struct Kernel {
  Strided<T, 3> x, out;
  Strided<Mask, 2> mask;
  std::int64_t seqlen, dim;

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t position, const Group& group = {}) const {
    const std::int64_t b = position / seqlen, l = position % seqlen;
    const bool keep = *mask.at(b, l) != 0;
    for (std::int64_t d = group.rank(); d < dim; d += group.size())
      *out.at(b, l, d) = keep ? *x.at(b, l, d) : T(0.0f);
  }
};

inline void run(ExecContext& exec, const MaskPositionsArgs& args) {
  const auto launch = [&]<class T, class Mask>(std::type_identity<T>, std::type_identity<Mask>) {
    const Kernel<T, Mask> kernel{Strided<T, 3>(args.x), Strided<T, 3>(args.out), Strided<Mask, 2>(args.mask),
                                 args.x.extent(1), args.x.extent(2)};
    with_exec_space(exec, [&](const auto& space) {
      for_each_group<group_size>(space, "ophis::mask_positions", args.x.extent(0) * args.x.extent(1), kernel);
    });
  };
  dispatch_compute_dtype(args.x.dtype(), [&]<class T>(std::type_identity<T> type) {
    if (args.mask.dtype() == DType::int32)
      launch(type, std::type_identity<std::int32_t>{});
    else
      launch(type, std::type_identity<std::int64_t>{});
  });
}

}  // namespace ophis::mask_positions_kokkos
