#include "models/src/gguf/gguf_metadata.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <limits>

#include "models/src/json.hpp"

namespace ophis::gguf {
namespace {

struct ValueFormat {
  const char* name;
  std::uint64_t bytes;  ///< 0: they vary
};

constexpr std::array<ValueFormat, value_types> formats{{{"uint8", 1},
                                                        {"int8", 1},
                                                        {"uint16", 2},
                                                        {"int16", 2},
                                                        {"uint32", 4},
                                                        {"int32", 4},
                                                        {"float32", 4},
                                                        {"bool", 1},
                                                        {"string", 0},
                                                        {"array", 0},
                                                        {"uint64", 8},
                                                        {"int64", 8},
                                                        {"float64", 8}}};

const ValueFormat& format_of(ValueType type) { return formats[static_cast<std::size_t>(type)]; }

/// An integer of any width; nothing for other types, and for what int64 cannot hold.
std::optional<std::int64_t> read_integer(ByteReader& reader, ValueType type) {
  switch (type) {
    case ValueType::uint8:
      return reader.read<std::uint8_t>();
    case ValueType::int8:
      return static_cast<std::int8_t>(reader.read<std::uint8_t>());
    case ValueType::uint16:
      return reader.read<std::uint16_t>();
    case ValueType::int16:
      return static_cast<std::int16_t>(reader.read<std::uint16_t>());
    case ValueType::uint32:
      return reader.read<std::uint32_t>();
    case ValueType::int32:
      return static_cast<std::int32_t>(reader.read<std::uint32_t>());
    case ValueType::int64:
      return static_cast<std::int64_t>(reader.read<std::uint64_t>());
    case ValueType::uint64: {
      const auto value = reader.read<std::uint64_t>();
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
      return static_cast<std::int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

/// The shortest decimal number that reads back as `value`.
template <class T>
std::string shortest(T value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

std::string_view read_string(ByteReader& reader) { return reader.take(reader.read<std::uint64_t>()); }

}  // namespace

Metadata::Metadata(ByteReader& reader, std::uint64_t count, std::string_view origin) : m_origin(origin) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string_view key = read_string(reader);
    if (key.empty() || !is_utf8(key)) {
      fail(ErrorCode::corrupt_data, origin, ": metadata key ", i, " is ", json_quoted(key));
    }
    const Value value = read_value(reader, key);
    if (!m_values.emplace(key, value).second)
      fail(ErrorCode::corrupt_data, label(json_quoted(key)), " is there twice");
  }
}

Metadata::Value Metadata::read_value(ByteReader& reader, std::string_view key) const {
  const auto read_type = [&] {
    const auto type = reader.read<std::uint32_t>();
    if (type >= value_types)
      fail(ErrorCode::corrupt_data, label(json_quoted(key)), " has a value of the unknown type ", type);
    return static_cast<ValueType>(type);
  };
  Value value{read_type(), false, 1, {}};
  if (value.type == ValueType::array) {
    value = {read_type(), true, reader.read<std::uint64_t>(), {}};
    if (value.type == ValueType::array)
      fail(ErrorCode::unsupported, label(json_quoted(key)), " is an array of arrays");
  }
  const std::uint64_t size = format_of(value.type).bytes;
  constexpr std::uint64_t length_bytes = 8;
  if (value.count > reader.remaining() / (size == 0 ? length_bytes : size)) {
    fail(ErrorCode::corrupt_data, label(json_quoted(key)), " has ", value.count, " elements of type ",
         format_of(value.type).name, ", but only ", reader.remaining(), " bytes follow");
  }
  const std::uint64_t begin = reader.position();
  if (size != 0) {
    reader.take(value.count * size);
  } else {
    for (std::uint64_t i = 0; i < value.count; ++i) read_string(reader);
  }
  value.bytes = reader.since(begin);
  return value;
}

std::string Metadata::label(std::string_view key) const { return detail::concat(m_origin, ": ", key); }

void Metadata::fail_value(std::string_view key, const Value& value, const char* wanted) const {
  fail(ErrorCode::corrupt_data, label(key), " should be ", wanted, ", got ",
       value.is_array ? "an array of type " : "a value of type ", format_of(value.type).name);
}

const Metadata::Value* Metadata::find(std::string_view key, bool is_array, const char* wanted) const {
  const auto found = m_values.find(key);
  if (found == m_values.end()) return nullptr;
  if (found->second.is_array != is_array) fail_value(key, found->second, wanted);
  return &found->second;
}

std::int64_t Metadata::integer(std::string_view key, std::int64_t low, std::int64_t high,
                               std::optional<std::int64_t> otherwise) const {
  const Value* const value = find(key, false, "an integer");
  if (value == nullptr) {
    if (!otherwise) fail(ErrorCode::corrupt_data, m_origin, " has no ", key, " in its metadata");
    return *otherwise;
  }
  ByteReader reader(value->bytes, m_origin);
  const std::optional<std::int64_t> number = read_integer(reader, value->type);
  if (!number) fail_value(key, *value, "an integer");
  if (*number < low || *number > high) {
    fail(ErrorCode::corrupt_data, label(key), " should be in ", low, "..", high, ", got ", *number);
  }
  return *number;
}

double Metadata::number(std::string_view key, double otherwise) const {
  const Value* const value = find(key, false, "a number");
  if (value == nullptr) return otherwise;
  ByteReader reader(value->bytes, m_origin);
  if (value->type == ValueType::float64) return std::bit_cast<double>(reader.read<std::uint64_t>());
  if (value->type != ValueType::float32) fail_value(key, *value, "a number");
  return std::stod(shortest(std::bit_cast<float>(reader.read<std::uint32_t>())));
}

bool Metadata::boolean(std::string_view key, bool otherwise) const {
  const Value* const value = find(key, false, "a bool");
  if (value == nullptr) return otherwise;
  if (value->type != ValueType::boolean) fail_value(key, *value, "a bool");
  return ByteReader(value->bytes, m_origin).read<std::uint8_t>() != 0;
}

std::string_view Metadata::text(std::string_view key, std::string_view otherwise) const {
  const Value* const value = find(key, false, "a string");
  if (value == nullptr) return otherwise;
  if (value->type != ValueType::string) fail_value(key, *value, "a string");
  ByteReader reader(value->bytes, m_origin);
  return read_string(reader);
}

std::vector<std::string_view> Metadata::texts(std::string_view key) const {
  const Value* const value = find(key, true, "an array of strings");
  if (value == nullptr) return {};
  if (value->type != ValueType::string) fail_value(key, *value, "an array of strings");
  ByteReader reader(value->bytes, m_origin);
  std::vector<std::string_view> texts(static_cast<std::size_t>(value->count));
  for (std::string_view& text : texts) text = read_string(reader);
  return texts;
}

std::vector<std::int64_t> Metadata::integers(std::string_view key) const {
  const Value* const value = find(key, true, "an array of integers");
  if (value == nullptr) return {};
  ByteReader reader(value->bytes, m_origin);
  std::vector<std::int64_t> integers;
  integers.reserve(static_cast<std::size_t>(value->count));
  for (std::uint64_t i = 0; i < value->count; ++i) {
    const std::optional<std::int64_t> number = read_integer(reader, value->type);
    if (!number) fail_value(key, *value, "an array of integers");
    integers.push_back(*number);
  }
  return integers;
}

std::map<std::string, std::string> Metadata::as_text() const {
  std::map<std::string, std::string> texts;
  for (const auto& [key, value] : m_values) {
    if (value.is_array) continue;
    ByteReader reader(value.bytes, m_origin);
    std::string& text = texts[std::string(key)];
    switch (value.type) {
      case ValueType::string:
        text = read_string(reader);
        break;
      case ValueType::boolean:
        text = reader.read<std::uint8_t>() != 0 ? "true" : "false";
        break;
      case ValueType::float32:
        text = shortest(std::bit_cast<float>(reader.read<std::uint32_t>()));
        break;
      case ValueType::float64:
        text = shortest(std::bit_cast<double>(reader.read<std::uint64_t>()));
        break;
      case ValueType::uint64:
        text = shortest(reader.read<std::uint64_t>());
        break;
      default:
        text = shortest(*read_integer(reader, value.type));
    }
    if (!is_utf8(text)) fail(ErrorCode::corrupt_data, label(key), " is not valid UTF-8");
  }
  return texts;
}

}  // namespace ophis::gguf
