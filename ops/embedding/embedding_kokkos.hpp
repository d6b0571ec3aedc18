// The portable kernel of embedding: every backend, every valid input.
#pragma once

#include <limits>

#include "ophis/ops/embedding.hpp"
#include "ops/common/quantized_rows.hpp"
#include "ops/common/rows.hpp"
#include "ops/common/strided.hpp"

namespace ophis::embedding_kokkos {

/// Threads of a GPU for a row.
inline constexpr int group_size = 256;

/// One item: one row of out, of a table in From; NaN where the id is none of the table's.
template <class From, class To, int W>
struct Lookup {
  RowShape shape;  // of out
  Rows ids, out;
  Strided<From, 2> weight;
  std::int64_t table_rows;
  bool ids_int64;

  template <class Group = LoneThread>
  KOKKOS_FUNCTION void operator()(std::int64_t row, const Group& group = {}) const {
    const RowIndex index = shape[row];
    const Row id_row = ids[index], to = out[index];
    const std::int64_t id = ids_int64 ? *id_row.at<std::int64_t>(0) : *id_row.at<std::int32_t>(0);
    const bool known = id >= 0 && id < table_rows;
    const From* const from = weight.at(known ? id : 0);
    for (std::int64_t c = group.rank() * W; c < shape.length(); c += group.size() * W) {
      const int count = lanes<W>(shape.length() - c);
      if (!known) {
        to.store<To>(c, count, Pack<W>(std::numeric_limits<float>::quiet_NaN()));
        continue;
      }
      to.store<To>(c, count, load<W>(from + c * weight.stride(1), weight.stride(1), count));
    }
  }
};

/// The same of a table of codes. One item: a group of a row of out; on a GPU eight of its elements.
template <class To, int W>
struct QuantizedLookup {
  RowShape shape;  // of out
  Rows ids, out;
  QuantizedRows weight;
  std::int64_t table_rows;
  bool ids_int64;

  KOKKOS_FUNCTION std::int64_t size() const { return W == 1 ? 8 : weight.group_size; }
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const std::int64_t per_row = shape.length() / size();
    const RowIndex index = shape[item / per_row];
    const Row id_row = ids[index], to = out[index];
    const std::int64_t id = ids_int64 ? *id_row.at<std::int64_t>(0) : *id_row.at<std::int32_t>(0);
    const std::int64_t begin = item % per_row * size(), end = begin + size();
    if (id >= 0 && id < table_rows) return weight.dequantize<To, W>(id, begin, end, to.at<To>(begin));
    for (std::int64_t c = begin; c < end; ++c) *to.at<To>(c) = To(std::numeric_limits<float>::quiet_NaN());
  }
};

inline void forward_quantized(ExecContext& exec, const EmbeddingArgs& args) {
  dispatch_compute_dtype(args.out.dtype(), [&]<class To>(std::type_identity<To>) {
    with_exec_space(exec, [&](const auto& space) {
      constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
      const RowShape shape(args.out.shape());
      const QuantizedLookup<To, W> kernel{
          shape,
          Rows(args.ids, args.ids.rank()),
          Rows(args.out),
          QuantizedRows(args.weight, args.weight_scale, args.weight_shift, shape.length()),
          args.weight.extent(0),
          args.ids.dtype() == DType::int64};
      for_each_element(space, "ophis::embedding", shape.rows() * (shape.length() / kernel.size()), kernel);
    });
  });
}

inline void forward(ExecContext& exec, const EmbeddingArgs& args) {
  if (args.weight_scale) return forward_quantized(exec, args);
  dispatch_compute_dtype(args.weight.dtype(), [&]<class From>(std::type_identity<From>) {
    dispatch_compute_dtype(args.out.dtype(), [&]<class To>(std::type_identity<To>) {
      with_exec_space(exec, [&](const auto& space) {
        constexpr int W = pack_width<std::remove_cvref_t<decltype(space)>>;
        const Lookup<From, To, W> kernel{
            RowShape(args.out.shape()),    Rows(args.ids, args.ids.rank()), Rows(args.out),
            Strided<From, 2>(args.weight), args.weight.extent(0),           args.ids.dtype() == DType::int64};
        for_each_group<group_size>(space, "ophis::embedding", kernel.shape.rows(), kernel);
      });
    });
  });
}

}  // namespace ophis::embedding_kokkos
