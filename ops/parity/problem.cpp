#include "ops/parity/problem.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <numeric>

#include "ophis/core/copy.hpp"
#include "ops/common/reference.hpp"

namespace ophis::parity {
namespace {

double epsilon(DType dtype) {
  switch (dtype) {
    case DType::bfloat16:
      return 0x1p-7;
    case DType::float16:
      return 0x1p-10;
    case DType::float64:
      return 0x1p-52;
    default:
      return 0x1p-23;
  }
}

/// The distance below which results of a dtype are subnormal and lose relative precision.
double smallest_normal(DType dtype) {
  return dtype == DType::float16 ? 0x1p-14 : static_cast<double>(std::numeric_limits<float>::min());
}

void fill_with_nan(const Tensor& memory) {
  if (memory.count() == 0) return;
  const bool is_float = is_compute_dtype(memory.dtype()) || memory.dtype() == DType::float64;
  std::memset(memory.raw(), is_float ? 0xFF : 0x80, memory.bytes());  // all ones are a NaN of every format
}

/// How many elements of memory a tensor spans.
std::int64_t reach_of(const Tensor& tensor) {
  std::int64_t reach = tensor.count() == 0 ? 0 : 1;
  for (int axis = 0; axis < tensor.rank() && reach > 0; ++axis) {
    reach += (tensor.extent(axis) - 1) * tensor.stride(axis);
  }
  return reach;
}

/// The strides of a tensor in its layout, and how many elements it spans.
Dims strides_of(const Dims& shape, const Layout& layout, std::int64_t& reach) {
  const int rank = shape.size();
  std::vector<int> order = layout.order;
  if (order.empty()) {
    order.resize(static_cast<std::size_t>(rank));
    std::iota(order.begin(), order.end(), 0);
  }
  Dims strides = shape;
  reach = 1;
  for (int i = rank - 1; i >= 0; --i) {
    const int axis = order[static_cast<std::size_t>(i)];
    strides[axis] = reach;
    reach *= shape[axis] + (i == rank - 1 ? layout.padding : 0);
  }
  return strides;
}

}  // namespace

template <class Make>
Tensor TensorPool::make_there(const Dims& shape, const Layout& layout, const Make& make) {
  constexpr std::int64_t most_made = std::int64_t{1} << 20;
  TensorPool host(m_engine());
  std::int64_t reach = 0;
  const Dims strides = strides_of(shape, layout, reach);
  if (layout.padding > 0 || reach <= most_made) return clone(*m_exec, make(host, shape, layout), m_device);
  const Tensor start = make(host, {most_made}, Layout{});
  const Tensor memory = m_owned.emplace_back(start.dtype(), Dims{reach}, m_device);
  copy(*m_exec, start, memory.slice(0, 0, most_made));
  for (std::int64_t done = most_made; done < reach; done *= 2) {
    const std::int64_t count = std::min(done, reach - done);
    copy(*m_exec, memory.slice(0, 0, count), memory.slice(0, done, done + count));
  }
  m_exec->fence();  // the start has left the host
  return Tensor(memory.raw(), memory.dtype(), shape, strides, m_device);
}

Tensor TensorPool::allocate(DType dtype, const Dims& shape) {
  return m_owned.emplace_back(dtype, shape, m_device, Access::device_and_host);
}

Tensor TensorPool::poisoned(DType dtype, const Dims& shape, const Layout& layout) {
  if (m_exec) {
    return make_there(shape, layout, [&](TensorPool& host, const Dims& of, const Layout& in) {
      return host.poisoned(dtype, of, in);
    });
  }
  std::int64_t reach = 0;
  const Dims strides = strides_of(shape, layout, reach);
  const Tensor memory = allocate(dtype, {reach});
  fill_with_nan(memory);
  return Tensor(memory.raw(), dtype, shape, strides, m_device);
}

Tensor TensorPool::uniform(DType dtype, const Dims& shape, double low, double high, const Layout& layout) {
  if (m_exec) {
    return make_there(shape, layout, [&](TensorPool& host, const Dims& of, const Layout& in) {
      return host.uniform(dtype, of, low, high, in);
    });
  }
  const Tensor tensor = poisoned(dtype, shape, layout);
  constexpr std::int64_t most_drawn = std::int64_t{1} << 22;
  if (tensor.count() > most_drawn && layout.padding == 0) {
    const Tensor drawn = uniform(dtype, {most_drawn}, low, high);
    auto* const to = static_cast<std::byte*>(tensor.raw());
    for (std::size_t done = 0; done < tensor.bytes(); done += drawn.bytes()) {
      std::memcpy(to + done, drawn.raw(), std::min(drawn.bytes(), tensor.bytes() - done));
    }
    return tensor;
  }
  const Elements elements(tensor);
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    const double unit = static_cast<double>(m_engine()) / 4294967296.0;  // the same on every standard library
    elements.write(elements.offset_of_position(i), low + (high - low) * unit);
  }
  return tensor;
}

Tensor TensorPool::bytes(const Dims& shape, const Layout& layout) {
  if (m_exec) {
    return make_there(shape, layout,
                      [&](TensorPool& host, const Dims& of, const Layout& in) { return host.bytes(of, in); });
  }
  const Tensor tensor = poisoned(DType::uint8, shape, layout);
  const Elements elements(tensor);
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    tensor.data<std::uint8_t>()[elements.offset_of_position(i)] = static_cast<std::uint8_t>(m_engine() >> 24);
  }
  return tensor;
}

Tensor TensorPool::integers(const Dims& shape, const std::vector<std::int32_t>& values, DType dtype) {
  if (m_exec) return clone(*m_exec, TensorPool(0).integers(shape, values, dtype), m_device);
  const Tensor tensor = allocate(dtype, shape);
  OPHIS_REQUIRE(tensor.count() == static_cast<std::int64_t>(values.size()), "integers: ", values.size(),
                " values for shape ", shape);
  if (dtype == DType::int32) {
    std::copy(values.begin(), values.end(), tensor.data<std::int32_t>());
  } else {
    std::copy(values.begin(), values.end(), tensor.data<std::int64_t>());
  }
  return tensor;
}

Tensor TensorPool::as_float64(const Tensor& tensor) {
  const Tensor copy = allocate(DType::float64, tensor.shape());
  const Elements from(tensor);
  for (std::int64_t i = 0; i < tensor.count(); ++i)
    copy.data<double>()[i] = from.read(from.offset_of_position(i));
  return copy;
}

Tensor TensorPool::clone(const Tensor& tensor) {
  const Tensor memory = allocate(tensor.dtype(), {reach_of(tensor)});
  if (memory.count() > 0) std::memcpy(memory.raw(), tensor.raw(), memory.bytes());
  return Tensor(memory.raw(), tensor.dtype(), tensor.shape(), tensor.strides(), m_device);
}

Tensor TensorPool::clone(ExecContext& exec, const Tensor& tensor, Device device) {
  const std::int64_t reach = reach_of(tensor);
  m_owned.emplace_back(tensor.dtype(), Dims{reach}, device);
  const Tensor memory = m_owned.back();
  copy(exec, Tensor(tensor.raw(), tensor.dtype(), {reach}, tensor.device()), memory);
  exec.fence();
  return Tensor(memory.raw(), tensor.dtype(), tensor.shape(), tensor.strides(), device);
}

double worst_ratio(const Tensor& got, const Tensor& want, double roundings, DType operands) {
  const Elements got_elements(got), want_elements(want);
  double largest = 0.0;
  for (std::int64_t i = 0; i < want.count(); ++i) {
    largest = std::max(largest, std::fabs(want_elements.read(want_elements.offset_of_position(i))));
  }
  const double of_operands = operands == DType::float32 ? 0.0 : 0.5 * epsilon(operands);
  double worst = 0.0;
  for (std::int64_t i = 0; i < got.count(); ++i) {
    const double g = got_elements.read(got_elements.offset_of_position(i));
    const double w = want_elements.read(want_elements.offset_of_position(i));
    if (!std::isfinite(g) || !std::isfinite(w)) {
      if (g == w) continue;
      return std::numeric_limits<double>::quiet_NaN();
    }
    const double store = std::max(std::fabs(w), smallest_normal(got.dtype())) * epsilon(got.dtype());
    const double bound = store + (roundings * 0x1p-23 + of_operands) * largest;
    worst = std::max(worst, std::fabs(g - w) / bound);
  }
  return worst;
}

}  // namespace ophis::parity
