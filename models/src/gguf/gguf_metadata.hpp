// The metadata of a GGUF file: values by name.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/src/byte_reader.hpp"
#include "models/src/gguf/gguf_format.hpp"

namespace ophis::gguf {

/// Values that lie in the file, which must outlive this. Errors are Error(corrupt_data) that name the file
/// and the key.
class Metadata {
 public:
  /// Reads `count` keys with their values. Checks every length against the end of the file, and that keys do
  /// not repeat.
  Metadata(ByteReader& reader, std::uint64_t count, std::string_view origin);

  bool has(std::string_view key) const { return m_values.contains(key); }
  /// An integer in [low, high]; absent keys give `otherwise`, or an error where there is none.
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> otherwise = {}) const;
  /// A float32 is taken for the shortest decimal number that it stands for: 1e-5, not 9.99999974e-6.
  double number(std::string_view key, double otherwise) const;
  bool boolean(std::string_view key, bool otherwise) const;
  std::string_view text(std::string_view key, std::string_view otherwise) const;
  /// The elements of an array; none if there is no such key.
  std::vector<std::string_view> texts(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key) const;

  /// All values but arrays, as text.
  std::map<std::string, std::string> as_text() const;
  /// "model.gguf: mamba.block_count", for messages.
  std::string label(std::string_view key) const;
  const std::string& origin() const noexcept { return m_origin; }

 private:
  struct Value {
    ValueType type;
    bool is_array;
    std::uint64_t count;  ///< 1 if it is no array
    std::span<const std::byte> bytes;
  };

  Value read_value(ByteReader& reader, std::string_view key) const;
  const Value* find(std::string_view key, bool is_array, const char* wanted) const;
  [[noreturn]] void fail_value(std::string_view key, const Value& value, const char* wanted) const;

  std::string m_origin;
  std::unordered_map<std::string_view, Value> m_values;
};

}  // namespace ophis::gguf
