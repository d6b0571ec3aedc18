#include "ophis/models/parameters.hpp"

#include <cstring>
#include <mutex>

#include "models/src/source_pieces.hpp"
#include "ophis/core/simd.hpp"

namespace ophis {
namespace {

/// The shape without its axes of extent 1.
Dims squeezed(const Dims& shape) {
  Dims dims;
  for (const std::int64_t extent : shape) {
    if (extent != 1) dims.push_back(extent);
  }
  return dims;
}

template <class From, class To>
void convert_rows(const Tensor& from, const Tensor& to) {
  constexpr int W = native_pack_width;
  const std::int64_t columns = from.extent(-1), rows = from.count() / columns;
  for (std::int64_t r = 0; r < rows; ++r) {
    std::int64_t offset = 0;
    for (std::int64_t axis = from.rank() - 2, rest = r; axis >= 0; --axis) {
      offset += rest % from.extent(static_cast<int>(axis)) * from.stride(static_cast<int>(axis));
      rest /= from.extent(static_cast<int>(axis));
    }
    const From* const source = from.data<From>() + offset;
    To* const target = to.data<To>() + r * columns;
    if constexpr (std::is_same_v<From, double>) {
      for (std::int64_t c = 0; c < columns; ++c)
        target[c] = To(static_cast<float>(source[c * from.stride(-1)]));
    } else {
      for (std::int64_t c = 0; c < columns; c += W) {
        const int count = static_cast<int>(std::min<std::int64_t>(W, columns - c));
        store(target + c, 1, count, load<W>(source + c * from.stride(-1), from.stride(-1), count));
      }
    }
  }
}

/// Writes the elements of a tensor to a dense one of the same shape.
using FillFn = void (*)(const Tensor& from, const Tensor& to);

/// That converts between these. Throws Error(invalid_argument) for others.
FillFn converter(DType from, DType to) {
  return dispatch_compute_dtype(to, [&]<class To>(std::type_identity<To>) -> FillFn {
    if (from == DType::float64) return convert_rows<double, To>;
    return dispatch_compute_dtype(
        from, []<class From>(std::type_identity<From>) -> FillFn { return convert_rows<From, To>; });
  });
}

/// Of dense tensors of one dtype.
void copy_bytes(const Tensor& from, const Tensor& to) { std::memcpy(to.raw(), from.raw(), from.bytes()); }

/// A parameter made of another.
Parameter make_of(const Parameter& parameter, DType dtype, FillFn fill) {
  OwnedTensor made(dtype, parameter.tensor.shape());
  for_each_piece(parameter, [&](std::int64_t begin, std::int64_t end) {
    fill(parameter.tensor.slice(0, begin, end), made->slice(0, begin, end));
  });
  return own(std::move(made));
}

/// On the host or not.
Parameter find_of_shape(const ParameterSource& source, const std::string& name, const Dims& shape) {
  Parameter parameter = source.find(name);
  if (!parameter)
    fail(ErrorCode::not_found, "there is no parameter ", source.full_name(name), " of shape ", shape);
  if (squeezed(parameter.tensor.shape()) != squeezed(shape)) {
    fail(ErrorCode::corrupt_data, "parameter ", source.full_name(name), " has shape ",
         parameter.tensor.shape(), ", but must have ", shape);
  }
  parameter.tensor = parameter.tensor.reshape(shape);
  return parameter;
}

void require_on_host(const ParameterSource& source, const std::string& name, const Parameter& parameter) {
  OPHIS_REQUIRE(parameter.tensor.device() == Device::cpu(), "parameter ", source.full_name(name), " is ",
                parameter.tensor, ", and must be on the host to be converted");
}

}  // namespace

/// Memory that parameters share, one after the other.
class Placement::SharedPages {
 public:
  Parameter copy(const Parameter& parameter) {
    const std::size_t bytes = parameter.tensor.bytes();
    const std::lock_guard lock(m_mutex);
    if (!m_block || m_used + bytes > block_bytes) {
      m_block = std::make_shared<const Buffer>(block_bytes);
      m_used = 0;
    }
    void* const there = static_cast<std::byte*>(m_block->data()) + m_used;
    m_used += (bytes + alignment - 1) / alignment * alignment;
    std::memcpy(there, parameter.tensor.raw(), bytes);
    if (parameter.release) parameter.release({static_cast<const std::byte*>(parameter.tensor.raw()), bytes});
    return {Tensor(there, parameter.tensor.dtype(), parameter.tensor.shape()), m_block};
  }

 private:
  static constexpr std::size_t block_bytes = 8 * huge_page_bytes, alignment = 64;

  std::mutex m_mutex;
  std::shared_ptr<const Buffer> m_block;
  std::size_t m_used = 0;
};

void Placement::use_huge_pages() {
  if (!m_uploader) m_shared_pages = std::make_shared<SharedPages>();
}

Placement::Placement(Device device) : m_device(device) {
  if (device.type != DeviceType::cpu) m_uploader = std::make_shared<Uploader>(device);
}

Parameter Placement::put(const Parameter& parameter) const {
  if (!parameter) return parameter;
  const Device device = parameter.tensor.device();
  if (device != Device::cpu()) {
    OPHIS_REQUIRE(device == m_device, "a parameter is on ", device, ", but its model is on ", m_device);
    return parameter;
  }
  if (!m_uploader) {
    if (!m_shared_pages || !parameter.tensor.is_contiguous() || parameter.tensor.bytes() == 0)
      return parameter;
    if (parameter.tensor.bytes() < huge_page_bytes) return m_shared_pages->copy(parameter);
    return parameter.release ? make_of(parameter, parameter.tensor.dtype(), copy_bytes) : parameter;
  }
  OwnedTensor there(parameter.tensor.dtype(), parameter.tensor.shape(), m_device);
  m_uploader->upload(parameter.tensor, there);
  return own(std::move(there));
}

void Placement::finish() const {
  if (m_uploader) m_uploader->finish();
}

ParameterSource::ParameterSource(ParameterMap parameters, Placement placement)
    : ParameterSource(
          [parameters = std::move(parameters)](const std::string& name) {
            const auto found = parameters.find(name);
            return found == parameters.end() ? Parameter{} : found->second;
          },
          std::move(placement)) {}

Parameter require_parameter(const ParameterSource& source, const std::string& name, const Dims& shape) {
  Parameter parameter = find_of_shape(source, name, shape);
  require_on_host(source, name, parameter);
  return parameter;
}

Parameter require_parameter(const ParameterSource& source, const std::string& name, const Dims& shape,
                            DType dtype) {
  const Parameter parameter = find_of_shape(source, name, shape);
  if (parameter.tensor.dtype() == dtype && parameter.tensor.is_contiguous())
    return source.placement().put(parameter);
  require_on_host(source, name, parameter);
  try {
    return source.placement().put(make_of(parameter, dtype, converter(parameter.tensor.dtype(), dtype)));
  } catch (const Error& error) {
    fail(error.code(), "parameter ", source.full_name(name), ": ", error.what());
  }
}

OwnedTensor convert(const Tensor& tensor, DType dtype) {
  OwnedTensor result(dtype, tensor.shape());
  convert(tensor, result.view());
  return result;
}

void convert(const Tensor& from, const Tensor& to) {
  OPHIS_REQUIRE(from.shape() == to.shape() && to.is_contiguous(), "convert: from is ", from, " and to is ",
                to, ", but both must have one shape, and to must be dense");
  if (from.count() > 0) converter(from.dtype(), to.dtype())(from, to);
}

Parameter own(OwnedTensor tensor) {
  const auto owner = std::make_shared<OwnedTensor>(std::move(tensor));
  return {owner->view(), owner};
}

}  // namespace ophis
