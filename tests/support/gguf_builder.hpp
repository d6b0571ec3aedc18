// Making GGUF files byte by byte.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/checkpoint_files.hpp"

namespace ophis::test {

/// A length of 64 bits and the text.
inline std::string gguf_string(std::string_view text) {
  return little_endian(std::uint64_t{text.size()}) + std::string(text);
}

/// Numbers of types in the file, as in gguf_format.hpp.
namespace gguf_type {
inline constexpr std::uint32_t u32 = 4, i32 = 5, f32 = 6, boolean = 7, string = 8, array = 9, u64 = 10;
inline constexpr std::uint32_t F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8, BF16 = 30;
}  // namespace gguf_type

class GgufBuilder {
 public:
  explicit GgufBuilder(std::string_view architecture = "mamba") {
    text("general.architecture", architecture);
  }

  GgufBuilder& value(std::string_view key, std::uint32_t type, const std::string& bytes) {
    m_values += gguf_string(key) + little_endian(type) + bytes;
    ++m_value_count;
    return *this;
  }
  GgufBuilder& integer(std::string_view key, std::uint32_t number) {
    return value(key, gguf_type::u32, little_endian(number));
  }
  GgufBuilder& number(std::string_view key, float number) {
    return value(key, gguf_type::f32, little_endian(std::bit_cast<std::uint32_t>(number)));
  }
  GgufBuilder& flag(std::string_view key, bool on) {
    return value(key, gguf_type::boolean, std::string(1, on ? '\1' : '\0'));
  }
  GgufBuilder& text(std::string_view key, std::string_view text) {
    return value(key, gguf_type::string, gguf_string(text));
  }
  GgufBuilder& texts(std::string_view key, const std::vector<std::string>& texts) {
    std::string bytes = little_endian(gguf_type::string) + little_endian(std::uint64_t{texts.size()});
    for (const std::string& each : texts) bytes += gguf_string(each);
    return value(key, gguf_type::array, bytes);
  }
  GgufBuilder& integers(std::string_view key, const std::vector<std::int32_t>& integers) {
    return value(
        key, gguf_type::array,
        little_endian(gguf_type::i32) + little_endian(std::uint64_t{integers.size()}) + bytes_of(integers));
  }

  /// `extents` as in the file: the dense axis first.
  GgufBuilder& tensor(std::string_view name, const std::vector<std::uint64_t>& extents, std::uint32_t type,
                      const std::string& data) {
    m_data.resize((m_data.size() + m_alignment - 1) / m_alignment * m_alignment);
    return described(name, extents, type, m_data.size(), data);
  }
  /// The same at any offset, which the data do not have to reach.
  GgufBuilder& described(std::string_view name, const std::vector<std::uint64_t>& extents, std::uint32_t type,
                         std::uint64_t offset, const std::string& data) {
    m_tensors += gguf_string(name) + little_endian(static_cast<std::uint32_t>(extents.size()));
    for (const std::uint64_t extent : extents) m_tensors += little_endian(extent);
    m_tensors += little_endian(type) + little_endian(offset);
    m_data += data;
    ++m_tensor_count;
    return *this;
  }
  /// Of the tensors that follow.
  GgufBuilder& alignment(std::uint32_t bytes) {
    m_alignment = bytes;
    return integer("general.alignment", bytes);
  }
  GgufBuilder& version(std::uint32_t version) {
    m_version = version;
    return *this;
  }

  std::string build() const { return build(m_tensor_count, m_value_count); }
  /// With counts that may be wrong.
  std::string build(std::uint64_t tensors, std::uint64_t values) const {
    std::string file = "GGUF" + little_endian(m_version) + little_endian(tensors) + little_endian(values) +
                       m_values + m_tensors;
    file.resize((file.size() + m_alignment - 1) / m_alignment * m_alignment);
    return file + m_data;
  }
  /// Where the data begin.
  std::size_t data_begin() const { return build().size() - m_data.size(); }

 private:
  std::string m_values, m_tensors, m_data;
  std::uint64_t m_value_count = 0, m_tensor_count = 0;
  std::size_t m_alignment = 32;
  std::uint32_t m_version = 3;
};

}  // namespace ophis::test
