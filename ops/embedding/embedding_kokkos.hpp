// The portable kernel of embedding: every backend, every valid input.
#pragma once

#include "ophis/ops/embedding.hpp"
#include "ops/common/rows.hpp"
#include "ops/common/strided.hpp"

namespace ophis::embedding_kokkos {

/// One item: one row of out, of a table in From.
template <class From, class To, int W>
struct Lookup {
  RowShape shape;  // of out
  Rows ids, out;
  Strided<From, 2> weight;
  bool ids_int64;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const RowIndex index = shape[item];
    const Row id_row = ids[index], to = out[index];
    const std::int64_t id = ids_int64 ? *id_row.at<std::int64_t>(0) : *id_row.at<std::int32_t>(0);
    const From* const from = weight.at(id);
    for (std::int64_t c = 0; c < shape.length(); c += W) {
      const int count = lanes<W>(shape.length() - c);
      to.store<To>(c, count, load<W>(from + c * weight.stride(1), weight.stride(1), count));
    }
  }
};

inline void forward(ExecContext& exec, const EmbeddingArgs& args) {
  dispatch_compute_dtype(args.weight.dtype(), [&]<class From>(std::type_identity<From>) {
    dispatch_compute_dtype(args.out.dtype(), [&]<class To>(std::type_identity<To>) {
      with_exec_space(exec, [&](const auto& space) {
        constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
        const Lookup<From, To, W> kernel{RowShape(args.out.shape()), Rows(args.ids, args.ids.rank()),
                                         Rows(args.out), Strided<From, 2>(args.weight),
                                         args.ids.dtype() == DType::int64};
        for_each_element(space, "ophis::embedding", kernel.shape.rows(), kernel);
      });
    });
  });
}

}  // namespace ophis::embedding_kokkos
