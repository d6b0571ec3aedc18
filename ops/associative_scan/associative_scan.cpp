#include "ophis/ops/associative_scan.hpp"

#include <cstdlib>

namespace ophis::detail {
namespace {

void check_tensors(const char* list, std::span<const Tensor> tensors, std::span<const DType> dtypes,
                   const Dims& shape, Device device) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    OPHIS_REQUIRE(tensor, "associative_scan: ", list, "[", i, "] must be given");
    OPHIS_REQUIRE(tensor.shape() == shape, "associative_scan: ", list, "[", i, "] has shape ", tensor.shape(),
                  ", but must have ", shape, " as inputs[0] has");
    OPHIS_REQUIRE(tensor.dtype() == dtypes[i], "associative_scan: ", list, "[", i, "] is ", tensor.dtype(),
                  ", but must be ", dtypes[i]);
    OPHIS_REQUIRE(tensor.device() == device, "associative_scan: ", list, "[", i, "] is on device ",
                  tensor.device(), ", but the op runs on ", device);
  }
}

/// How many positions are combined one after the other. A GPU waits for each of them, so there it is about as
/// many as the row has chunks.
std::int64_t chunk_of(Device device, std::int64_t length) {
  constexpr std::int64_t least = 64, most = 512;
  if (device.type == DeviceType::cpu) return most;
  std::int64_t chunk = least;
  while (chunk < most && chunk * chunk < length) chunk *= 2;
  return chunk;
}

ScanLayout lay_out(const Tensor& tensor, int axis, bool reverse, std::span<const int> row_axes) {
  const std::int64_t stride = tensor.stride(axis);
  ScanLayout layout{};
  layout.begin = reverse ? (tensor.extent(axis) - 1) * stride : 0;
  layout.step = reverse ? -stride : stride;
  for (std::size_t i = 0; i < row_axes.size(); ++i) layout.row_strides[i] = tensor.stride(row_axes[i]);
  return layout;
}

}  // namespace

ScanRows plan_scan(ExecContext& exec, std::span<const Tensor> inputs, std::span<const DType> input_dtypes,
                   std::span<const Tensor> outputs, std::span<const DType> output_dtypes, int axis,
                   bool reverse, std::span<ScanLayout> input_layouts, std::span<ScanLayout> output_layouts) {
  const Tensor& first = inputs[0];
  check_tensors("inputs", inputs, input_dtypes, first.shape(), exec.device());
  check_tensors("outputs", outputs, output_dtypes, first.shape(), exec.device());
  const int rank = first.rank();
  OPHIS_REQUIRE(axis >= -rank && axis < rank, "associative_scan: axis ", axis,
                " is not an axis of inputs[0], ", first);
  if (axis < 0) axis += rank;

  ScanRows rows{1, first.extent(axis), chunk_of(exec.device(), first.extent(axis)), 0, {}, false};
  int row_axes[ScanRows::max_axes];  // by falling stride
  for (int i = 0; i < rank; ++i) {
    if (i == axis) continue;
    rows.count *= first.extent(i);
    if (first.extent(i) == 1) continue;
    int at = rows.axes++;
    for (; at > 0 && std::abs(first.stride(row_axes[at - 1])) < std::abs(first.stride(i)); --at) {
      row_axes[at] = row_axes[at - 1];
    }
    row_axes[at] = i;
  }
  for (int i = 0; i < rows.axes; ++i) rows.shape[i] = first.extent(row_axes[i]);
  const std::span<const int> sorted(row_axes, static_cast<std::size_t>(rows.axes));
  rows.dense = rows.axes > 0;
  const auto lay_out_all = [&](std::span<const Tensor> tensors, std::span<ScanLayout> layouts) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      layouts[i] = lay_out(tensors[i], axis, reverse, sorted);
      rows.dense = rows.dense && layouts[i].row_strides[rows.axes - 1] == 1;
    }
  };
  lay_out_all(inputs, input_layouts);
  lay_out_all(outputs, output_layouts);
  return rows;
}

}  // namespace ophis::detail
