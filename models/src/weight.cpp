#include "ophis/models/weight.hpp"

#include "models/src/quantize_parameter.hpp"
#include "models/src/source_pieces.hpp"

namespace ophis {
namespace {

/// (out, groups) of the zero points that a file packs along the outputs, 32 / bits of them in an int32.
float unpacked_zero_point(const Tensor& packed, int bits, std::int64_t o, std::int64_t g) {
  const std::int64_t per_word = 32 / bits;
  const std::int32_t* const word =
      packed.data<std::int32_t>() + (o / per_word) * packed.stride(0) + g * packed.stride(1);
  const auto shifted = static_cast<std::uint32_t>(*word) >> (o % per_word * bits);
  return static_cast<float>(shifted & ((1u << bits) - 1));
}

/// -scale * zero_point(o, g), float32.
template <class ZeroPoint>
OwnedTensor make_shift(const Tensor& scale, const ZeroPoint& zero_point) {
  OwnedTensor shift = convert(scale, DType::float32);
  const std::int64_t groups = scale.extent(1);
  float* const values = shift->data<float>();
  for (std::int64_t i = 0; i < shift->count(); ++i) values[i] *= -zero_point(i / groups, i % groups);
  return shift;
}

/// One weight of a source.
class Reader {
 public:
  Reader(const ParameterSource& source, const std::string& name) : m_source(source), m_name(name) {}

  Parameter find(const char* suffix) const { return m_source.find(m_name + suffix); }
  std::string full_name(const char* suffix) const { return m_source.full_name(m_name + suffix); }

  template <class... Parts>
  [[noreturn]] void fail_corrupt(const char* suffix, const Parts&... parts) const {
    fail(ErrorCode::corrupt_data, "parameter ", full_name(suffix), ' ', parts...);
  }

  void require_shape(const char* suffix, const Parameter& parameter, const Dims& wanted) const {
    if (parameter.tensor.shape() != wanted)
      fail_corrupt(suffix, "has shape ", parameter.tensor.shape(), ", but must have ", wanted);
  }

  /// Puts the parts in their places.
  Weight place(const Parameter& values, const Parameter& scale, const Parameter& shift) const {
    const Placement& placement = m_source.placement();
    return {m_source.full_name(m_name), placement.put(values), placement.put(scale), placement.put(shift)};
  }

  Parameter scale(std::int64_t out, std::int64_t in) const {
    Parameter scale = find(".weight_scale");
    if (!scale) fail(ErrorCode::not_found, "there is no parameter ", full_name(".weight_scale"));
    if (scale.tensor.rank() == 1 && scale.tensor.extent(0) == out)
      scale.tensor = scale.tensor.reshape({out, 1});
    if (!is_compute_dtype(scale.tensor.dtype())) fail_corrupt(".weight_scale", "is ", scale.tensor.dtype());
    if (scale.tensor.rank() != 2 || scale.tensor.extent(0) != out || scale.tensor.extent(1) < 1 ||
        in % scale.tensor.extent(1) != 0 || in / scale.tensor.extent(1) % 8 != 0) {
      fail_corrupt(".weight_scale", "has shape ", scale.tensor.shape(), ", but must have (", out,
                   ", groups), with groups of ", in, " inputs of one size, a multiple of 8");
    }
    return scale;
  }

  /// compressed-tensors' pack-quantized: int32 words of codes, offset to be unsigned. uint8 words as well, as
  /// sources of other formats make them.
  Weight packed(Parameter codes, std::int64_t out, std::int64_t in) const {
    const bool bytes = codes.tensor.dtype() == DType::uint8;
    if (!bytes && codes.tensor.dtype() != DType::int32) {
      fail_corrupt(".weight_packed", "is ", codes.tensor.dtype(), ", but must be int32");
    }
    if (codes.tensor.rank() != 2 || !codes.tensor.is_contiguous())
      fail_corrupt(".weight_packed", "has shape ", codes.tensor.shape());
    const std::int64_t columns = codes.tensor.extent(1);
    const std::int64_t row_bytes = columns > in ? 0 : columns * (bytes ? 1 : 4);
    if (codes.tensor.extent(0) != out || in % 8 != 0 || (row_bytes != in && row_bytes != in / 2)) {
      fail_corrupt(".weight_packed", "has shape ", codes.tensor.shape(), ", which is not that of ",
                   Dims{out, in}, " in 8 or 4 bits");
    }
    codes.tensor = Tensor(codes.tensor.raw(), DType::uint8, {out, row_bytes});
    if (find(".weight_g_idx")) {
      fail(ErrorCode::unsupported, "parameter ", full_name(".weight_g_idx"),
           ": groups in an order of their own are not supported");
    }
    const int bits = row_bytes == in ? 8 : 4;
    const Parameter scales = scale(out, in);
    return place(codes, scales, shift(scales.tensor, bits));
  }

  Parameter shift(const Tensor& scale, int bits) const {
    const Dims shape = scale.shape();
    if (Parameter given = find(".weight_shift")) {
      require_shape(".weight_shift", given, shape);
      if (given.tensor.dtype() != DType::float32) fail_corrupt(".weight_shift", "is ", given.tensor.dtype());
      return given;
    }
    const Parameter zero = find(".weight_zero_point");
    if (!zero) return {};
    const std::int64_t per_word = 32 / bits;
    require_shape(".weight_zero_point", zero, {(shape[0] + per_word - 1) / per_word, shape[1]});
    if (zero.tensor.dtype() != DType::int32) fail_corrupt(".weight_zero_point", "is ", zero.tensor.dtype());
    return own(make_shift(
        scale, [&](std::int64_t o, std::int64_t g) { return unpacked_zero_point(zero.tensor, bits, o, g); }));
  }

  /// compressed-tensors' int-quantized: an int8 weight. Its codes are made unsigned.
  Weight signed_codes(const Parameter& weight, std::int64_t out, std::int64_t in) const {
    require_shape(".weight", weight, {out, in});
    if (in % 8 != 0 || !weight.tensor.is_contiguous()) fail_corrupt(".weight", "has ", in, " inputs");
    OwnedTensor codes(DType::uint8, {out, in});
    const std::int8_t* const from = weight.tensor.data<std::int8_t>();
    for_each_piece(weight, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin * in; i < end * in; ++i)
        codes->data<std::uint8_t>()[i] = static_cast<std::uint8_t>(from[i] + 128);
    });
    const Parameter scales = scale(out, in);
    Parameter shifts;
    if (Parameter zero = find(".weight_zero_point")) {
      if (zero.tensor.count() != scales.tensor.count() || zero.tensor.dtype() != DType::int8 ||
          !zero.tensor.is_contiguous())
        fail_corrupt(".weight_zero_point", "is ", zero.tensor, ", but must be int8 ", scales.tensor.shape());
      const std::int8_t* const zeros = zero.tensor.data<std::int8_t>();
      shifts = own(make_shift(scales.tensor, [&](std::int64_t o, std::int64_t g) {
        return static_cast<float>(zeros[o * scales.tensor.extent(1) + g]) + 128.0f;
      }));
    }
    return place(own(std::move(codes)), scales, shifts);
  }

  /// A dense weight, quantized now.
  Weight quantized(const Parameter& dense, const WeightFormat& format) const {
    try {
      QuantizedMatrix made = quantize(dense, format);
      Parameter shifts;
      if (made.zero_point.view()) {
        const std::uint8_t* const zeros = made.zero_point->data<std::uint8_t>();
        const std::int64_t groups = made.scale->extent(1);
        shifts = own(make_shift(made.scale, [&](std::int64_t o, std::int64_t g) {
          return static_cast<float>(zeros[o * groups + g]);
        }));
      }
      return place(own(std::move(made.codes)), own(std::move(made.scale)), shifts);
    } catch (const Error& error) {
      fail(error.code(), "parameter ", full_name(".weight"), ": ", error.what());
    }
  }

 private:
  const ParameterSource& m_source;
  const std::string& m_name;
};

Weight require_matrix(const ParameterSource& source, const std::string& name, const Dims& shape, DType dtype,
                      const std::optional<WeightFormat>& format) {
  const Reader reader(source, name);
  const auto reject_twice = [&] {
    if (source.quantization()) {
      fail(ErrorCode::invalid_argument, "parameter ", source.full_name(name),
           " is quantized already and cannot be quantized again");
    }
  };
  if (Parameter codes = reader.find(".weight_packed")) {
    reject_twice();
    return reader.packed(std::move(codes), shape[0], shape[1]);
  }
  const Parameter stored = reader.find(".weight");
  if (stored && stored.tensor.dtype() == DType::int8) {
    reject_twice();
    return reader.signed_codes(stored, shape[0], shape[1]);
  }
  if (format) return reader.quantized(require_parameter(source, name + ".weight", shape), *format);
  return {source.full_name(name), require_parameter(source, name + ".weight", shape, dtype), {}, {}};
}

}  // namespace

Weight Weight::rows(std::int64_t count) const {
  Weight some = *this;
  for (Parameter* const part : {&some.values, &some.scale, &some.shift}) {
    if (*part) part->tensor = part->tensor.slice(0, 0, count);
  }
  return some;
}

Weight require_weight(const ParameterSource& source, const std::string& name, const Dims& shape,
                      DType dtype) {
  const bool is_projection = name == "in_proj" || name == "out_proj";
  return require_matrix(source, name, shape, dtype,
                        is_projection ? source.quantization().projections : std::nullopt);
}

Weight require_table(const ParameterSource& source, const std::string& name, const Dims& shape, DType dtype) {
  Dims stored = shape;
  Parameter table = source.find(name + ".weight_packed");
  if (!table) table = source.find(name + ".weight");
  if (table && table.tensor.rank() == 2) stored[0] = std::max(stored[0], table.tensor.extent(0));
  return require_matrix(source, name, stored, dtype, source.quantization().tables).rows(shape[0]);
}

}  // namespace ophis
