#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "models/src/quantize_parameter.hpp"
#include "models/src/source_pieces.hpp"
#include "ophis/core/host_parallel.hpp"

namespace ophis {
namespace {

constexpr std::int64_t block = InputStatistics::block;

/// The scale, as it is stored, and zero point of a group.
struct GroupScale {
  float scale = 0.0f;
  float zero_point = 0.0f;

  /// The code of a value; a group of zeros has scale 0.
  float code(float value, float largest_code) const {
    if (scale == 0.0f) return zero_point;
    return std::clamp(std::nearbyint(value / scale) + zero_point, 0.0f, largest_code);
  }
  float value(float code) const { return scale * (code - zero_point); }
};

float stored(float scale) { return static_cast<float>(bfloat16(scale)); }

/// Chooses scales of groups.
struct ScaleChooser {
  WeightFormat format;
  float largest_code, middle;

  explicit ScaleChooser(const WeightFormat& wanted)
      : format(wanted),
        largest_code(static_cast<float>((1 << wanted.bits) - 1)),
        middle(static_cast<float>(1 << (wanted.bits - 1))) {}

  /// The scale at which the range of values, times `shrink`, fills the codes.
  GroupScale covering(float low, float high, float shrink) const {
    if (format.symmetric) {
      const float reach = std::max(-low, high) * shrink;
      return {stored(2.0f * reach / largest_code), middle};
    }
    const float scale = stored((high - low) * shrink / largest_code);
    if (scale == 0.0f) return {};
    return {scale, std::clamp(std::nearbyint(-low * shrink / scale), 0.0f, largest_code)};
  }

  /// The squared error that it makes, each value's counted by `importance`, or all alike.
  double error(const GroupScale& group, std::span<const float> values, const float* importance) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float difference = group.value(group.code(values[i], largest_code)) - values[i];
      sum += static_cast<double>(difference * difference * (importance ? importance[i] : 1.0f));
    }
    return sum;
  }

  GroupScale choose(std::span<const float> values, const float* importance) const {
    float low = 0.0f, high = 0.0f;  // zero is always among the values
    for (const float value : values) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
    GroupScale best = covering(low, high, 1.0f);
    if (format.bits == 8) return best;
    double least = error(best, values, importance);
    for (const float shrink : {0.95f, 0.9f, 0.85f, 0.8f, 0.75f, 0.7f}) {
      const GroupScale other = covering(low, high, shrink);
      if (const double sum = error(other, values, importance); sum < least) {
        least = sum;
        best = other;
      }
    }
    return best;
  }
};

using Square = std::vector<double>;  // (n, n), row-major

/// The lower triangle L of A = L L^T, in its place. A is positive definite.
void factorize(Square& a, std::size_t n) {
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t k = 0; k < j; ++k) {
      for (std::size_t i = j; i < n; ++i) a[i * n + j] -= a[i * n + k] * a[j * n + k];
    }
    const double root = std::sqrt(a[j * n + j]);
    for (std::size_t i = j; i < n; ++i) a[i * n + j] /= root;
  }
}

/// The inverse of A = L L^T from L.
Square inverse_of(const Square& l, std::size_t n) {
  Square inverse(n * n, 0.0);
  std::vector<double> column(n);
  for (std::size_t c = 0; c < n; ++c) {
    for (std::size_t i = 0; i < n; ++i) {
      double sum = i == c ? 1.0 : 0.0;
      for (std::size_t k = 0; k < i; ++k) sum -= l[i * n + k] * column[k];
      column[i] = sum / l[i * n + i];
    }
    for (std::size_t i = n; i-- > 0;) {
      double sum = column[i];
      for (std::size_t k = i + 1; k < n; ++k) sum -= l[k * n + i] * column[k];
      column[i] = sum / l[i * n + i];
      inverse[i * n + c] = column[i];
    }
  }
  return inverse;
}

/// What GPTQ needs of a block of inputs.
struct BlockStatistics {
  std::vector<float> importance;  ///< the mean square of each input
  std::vector<float> feedback;    ///< (n, n): the upper Cholesky factor of the inverse of x^T x
};

BlockStatistics block_statistics(const float* products, std::size_t n) {
  constexpr double damping = 0.01;
  BlockStatistics statistics;
  Square damped(n * n);
  double mean = 0.0;
  for (std::size_t i = 0; i < n; ++i)
    mean += static_cast<double>(products[i * block + i]) / static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i) {
    statistics.importance.push_back(products[i * block + i] + static_cast<float>(damping * mean));
    for (std::size_t j = 0; j < n; ++j) damped[i * n + j] = static_cast<double>(products[i * block + j]);
    damped[i * n + i] += damping * mean + (mean == 0.0 ? 1.0 : 0.0);
  }
  factorize(damped, n);
  Square inverse = inverse_of(damped, n);
  factorize(inverse, n);
  statistics.feedback.resize(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i; j < n; ++j)
      statistics.feedback[i * n + j] = static_cast<float>(inverse[j * n + i]);
  }
  return statistics;
}

/// Quantizes rows of a matrix, each by itself.
class RowQuantizer {
 public:
  RowQuantizer(const Tensor& weight, const WeightFormat& format, const InputStatistics* statistics)
      : m_weight(weight), m_in(weight.extent(1)), m_chooser(format) {
    if (statistics == nullptr) return;
    const std::int64_t blocks = (m_in + block - 1) / block;
    const Tensor& products = statistics->products;
    OPHIS_REQUIRE(products.shape() == (Dims{blocks, block, block}), "quantize: statistics of shape ",
                  products.shape(), " are not those of ", m_in, " inputs");
    m_statistics.resize(static_cast<std::size_t>(blocks));
    for_each_on_host(blocks, [&](std::int64_t b, int) {
      const auto n = static_cast<std::size_t>(std::min(block, m_in - b * block));
      m_statistics[static_cast<std::size_t>(b)] =
          block_statistics(products.data<float>() + b * block * block, n);
    });
  }

  /// Codes and group scales of row o; false if it holds values that are not finite. `row` (in) float32 is
  /// scratch memory.
  bool run(std::int64_t o, const Tensor& row, std::vector<float>& codes,
           std::vector<GroupScale>& groups) const {
    convert(m_weight.select(0, o), row);
    float* const values = row.data<float>();
    if (!std::all_of(values, values + m_in, [](float value) { return std::isfinite(value); })) return false;
    const auto size = static_cast<std::size_t>(m_chooser.format.group_size);
    codes.resize(static_cast<std::size_t>(m_in));
    groups.resize(codes.size() / size);
    // Groups that end with a block see what the errors before them made of the row; others its first values.
    const bool late = !m_statistics.empty() && static_cast<std::size_t>(block) % size == 0;
    if (!late) {
      for (std::size_t g = 0; g < groups.size(); ++g)
        groups[g] = m_chooser.choose({values + g * size, size}, importance(g * size, size));
    }
    for (std::size_t i = 0; i < codes.size(); ++i) {
      GroupScale& group = groups[i / size];
      if (late && i % size == 0) group = m_chooser.choose({values + i, size}, importance(i, size));
      codes[i] = group.code(values[i], m_chooser.largest_code);
      if (!m_statistics.empty()) feed_back(values, i, group.value(codes[i]));
    }
    return true;
  }

 private:
  /// Of the inputs of a group, where they lie in one block.
  const float* importance(std::size_t begin, std::size_t size) const {
    constexpr auto of_block = static_cast<std::size_t>(block);
    if (m_statistics.empty() || begin / of_block != (begin + size - 1) / of_block) return nullptr;
    return m_statistics[begin / of_block].importance.data() + begin % of_block;
  }

  /// Changes the values behind i in its block so as to make up for the error of i.
  void feed_back(float* values, std::size_t i, float quantized) const {
    constexpr auto of_block = static_cast<std::size_t>(block);
    const BlockStatistics& statistics = m_statistics[i / of_block];
    const std::size_t n = statistics.importance.size(), at = i % of_block;
    const float* const feedback = statistics.feedback.data() + at * n;
    const float error = (values[i] - quantized) / feedback[at];
    float* const of_this_block = values + i - at;
    for (std::size_t j = at + 1; j < n; ++j) of_this_block[j] -= error * feedback[j];
  }

  Tensor m_weight;
  std::int64_t m_in;
  ScaleChooser m_chooser;
  std::vector<BlockStatistics> m_statistics;
};

}  // namespace

WeightFormat parse_weight_format(std::string_view name, std::int64_t group_size, bool symmetric) {
  OPHIS_REQUIRE(name == "int8" || name == "int4", "unknown weight format '", name, "'; known: int8, int4");
  OPHIS_REQUIRE(group_size >= 0 && group_size % 8 == 0, "the group size is ", group_size,
                ", but must be a multiple of 8, or 0 for whole rows");
  return {name == "int8" ? 8 : 4, group_size, symmetric};
}

QuantizedMatrix quantize(const Tensor& weight, const WeightFormat& format,
                         const InputStatistics* statistics) {
  return quantize(Parameter{weight, nullptr}, format, statistics);
}

QuantizedMatrix quantize(const Parameter& parameter, const WeightFormat& format,
                         const InputStatistics* statistics) {
  const Tensor& weight = parameter.tensor;
  OPHIS_REQUIRE(weight.rank() == 2 && weight.extent(0) > 0, "a matrix is wanted to be quantized, got ",
                weight);
  OPHIS_REQUIRE(is_compute_dtype(weight.dtype()) || weight.dtype() == DType::float64, "a matrix of ",
                weight.dtype(), " cannot be quantized");
  OPHIS_REQUIRE(format.bits == 8 || format.bits == 4, "codes have 8 or 4 bits, not ", format.bits);
  const std::int64_t out = weight.extent(0), in = weight.extent(1);
  QuantizedMatrix result;
  result.format = format;
  const std::int64_t group_size = result.format.group_size = format.group_size == 0 ? in : format.group_size;
  OPHIS_REQUIRE(in > 0 && group_size > 0 && in % group_size == 0 && group_size % 8 == 0, in,
                " inputs cannot be cut into groups of ", group_size,
                "; choose a group size that divides them and is a multiple of 8, or whole rows");
  const std::int64_t groups = in / group_size, row_bytes = in * format.bits / 8;
  result.codes = OwnedTensor(DType::uint8, {out, row_bytes});
  result.scale = OwnedTensor(DType::bfloat16, {out, groups});
  if (!format.symmetric) result.zero_point = OwnedTensor(DType::uint8, {out, groups});
  const RowQuantizer quantizer(weight, result.format, statistics);
  std::vector<std::uint8_t> is_finite(static_cast<std::size_t>(out), 1);
  for_each_piece(parameter, [&](std::int64_t begin, std::int64_t end) {
    const OwnedTensor row(DType::float32, {in});
    std::vector<float> codes;
    std::vector<GroupScale> scales;
    for (std::int64_t o = begin; o < end; ++o) {
      if (!quantizer.run(o, row, codes, scales)) {
        is_finite[static_cast<std::size_t>(o)] = 0;
        continue;
      }
      std::uint8_t* const bytes = result.codes->data<std::uint8_t>() + o * row_bytes;
      std::fill(bytes, bytes + row_bytes, std::uint8_t{0});
      for (std::int64_t i = 0; i < in; ++i) {
        const std::int64_t bit = i * format.bits;
        bytes[bit / 8] |=
            static_cast<std::uint8_t>(static_cast<int>(codes[static_cast<std::size_t>(i)]) << bit % 8);
      }
      for (std::int64_t g = 0; g < groups; ++g) {
        const GroupScale& group = scales[static_cast<std::size_t>(g)];
        result.scale->data<bfloat16>()[o * groups + g] = bfloat16(group.scale);
        if (!format.symmetric)
          result.zero_point->data<std::uint8_t>()[o * groups + g] =
              static_cast<std::uint8_t>(group.zero_point);
      }
    }
  });
  const auto wrong = std::find(is_finite.begin(), is_finite.end(), 0);
  OPHIS_REQUIRE(wrong == is_finite.end(), "row ", wrong - is_finite.begin(),
                " holds values that are not finite, which cannot be quantized");
  return result;
}

}  // namespace ophis
