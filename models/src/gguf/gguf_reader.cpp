#include "models/src/gguf/gguf_reader.hpp"

#include <algorithm>
#include <bit>
#include <unordered_set>
#include <utility>

#include "models/src/json.hpp"

namespace ophis {
namespace {

using namespace gguf;

template <class... Parts>
[[noreturn]] void fail_tensor(std::string_view origin, std::string_view name, const Parts&... parts) {
  fail(ErrorCode::corrupt_data, origin, ": tensor ", json_quoted(name), ' ', parts...);
}

/// What stands before the metadata.
struct Counts {
  std::uint64_t tensors, values;
};

void check_version(std::uint32_t version, std::string_view origin) {
  if (version >= oldest_version && version <= newest_version) return;
  constexpr std::uint32_t low_half = 0xffff;
  if (version != 0 && (version & low_half) == 0) {
    fail(ErrorCode::unsupported, origin, " holds big-endian data; only little-endian data are read");
  }
  fail(version == 0 ? ErrorCode::corrupt_data : ErrorCode::unsupported, origin, " is GGUF of version ",
       version, "; versions ", oldest_version, " and ", newest_version, " are read");
}

Counts read_counts(ByteReader& reader, std::span<const std::byte> file, std::string_view origin) {
  reject_lfs_pointer(file, origin);
  if (reader.remaining() < magic.size() || reader.take(magic.size()) != magic)
    fail(ErrorCode::corrupt_data, origin, " is not a GGUF file: it does not begin with ", magic);
  check_version(reader.read<std::uint32_t>(), origin);
  const auto tensors = reader.read<std::uint64_t>();
  const auto values = reader.read<std::uint64_t>();
  // The least bytes of a tensor's description (name's length, number of axes, type, offset) and of a value.
  constexpr std::uint64_t tensor_bytes = 8 + 4 + 4 + 8, value_bytes = 8 + 4 + 1;
  if (tensors > reader.remaining() / tensor_bytes || values > reader.remaining() / value_bytes) {
    fail(ErrorCode::corrupt_data, origin, " is truncated or corrupt: it promises ", tensors, " tensors and ",
         values, " metadata values in ", file.size(), " bytes");
  }
  return {tensors, values};
}

const TensorType& find_type(std::uint32_t id, std::string_view origin, std::string_view name) {
  const auto known = std::find_if(tensor_types.begin(), tensor_types.end(),
                                  [&](const TensorType& type) { return type.id == id; });
  if (known == tensor_types.end()) {
    fail(ErrorCode::unsupported, origin, ": tensor ", json_quoted(name), " has the unknown type ", id);
  }
  return *known;
}

/// Everything but where the data lie: the offset that is read counts from the start of all data.
TensorRecord read_tensor(ByteReader& reader, std::string_view origin) {
  TensorRecord record;
  record.name = reader.take(reader.read<std::uint64_t>());
  if (record.name.empty() || !is_utf8(record.name)) fail_tensor(origin, record.name, "has no proper name");
  const auto axes = reader.read<std::uint32_t>();
  if (axes > max_axes) fail_tensor(origin, record.name, "has ", axes, " axes; at most ", max_axes, " can be");
  for (std::uint32_t axis = 0; axis < axes; ++axis)
    record.shape.push_back(static_cast<std::int64_t>(reader.read<std::uint64_t>()));
  const std::uint64_t row = axes == 0 ? 1 : static_cast<std::uint64_t>(record.shape.front());
  std::reverse(record.shape.begin(), record.shape.end());  // in the file the dense axis comes first
  const TensorType& type = find_type(reader.read<std::uint32_t>(), origin, record.name);
  const std::optional<std::uint64_t> count = checked_count(record.shape);
  if (!count) fail_tensor(origin, record.name, "has a negative extent or too many elements");
  if (row % type.block_elements != 0) {
    fail_tensor(origin, record.name, "has rows of ", row, " elements, which are not whole blocks of ",
                type.name, " (", type.block_elements, ')');
  }
  record.file_dtype = type.name;
  record.dtype = type.dtype;
  record.bytes = *count / type.block_elements * type.block_bytes;
  record.region_offset = reader.read<std::uint64_t>();
  record.region_bytes = record.bytes;
  return record;
}

/// Puts the tensors at their places in the file and checks that they lie there without overlap.
void place(std::vector<TensorRecord>& tensors, std::string_view origin, std::uint64_t data_begin,
           std::uint64_t alignment, std::uint64_t file_bytes) {
  const std::uint64_t data_bytes = file_bytes - std::min(data_begin, file_bytes);
  std::vector<TensorRecord*> sorted;
  for (TensorRecord& record : tensors) {
    const std::uint64_t offset = record.region_offset;
    if (offset % alignment != 0) {
      fail_tensor(origin, record.name, "begins at offset ", offset, ", not at a multiple of the alignment ",
                  alignment);
    }
    if (offset > data_bytes || record.bytes > data_bytes - offset) {
      fail_tensor(origin, record.name, "has ", record.bytes, " bytes at offset ", offset, " outside the ",
                  data_bytes, " bytes of data");
    }
    record.region_offset += data_begin;
    if (record.bytes > 0) sorted.push_back(&record);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const TensorRecord* a, const TensorRecord* b) { return a->region_offset < b->region_offset; });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i]->region_offset < sorted[i - 1]->region_offset + sorted[i - 1]->region_bytes)
      fail_tensor(origin, sorted[i]->name, "overlaps ", json_quoted(sorted[i - 1]->name));
  }
}

std::uint64_t read_alignment(const Metadata& metadata) {
  constexpr std::string_view key = "general.alignment";
  constexpr std::int64_t largest = std::int64_t{1} << 30;
  const auto alignment = static_cast<std::uint64_t>(
      metadata.integer(key, 1, largest, static_cast<std::int64_t>(default_alignment)));
  if (!std::has_single_bit(alignment))
    fail(ErrorCode::corrupt_data, metadata.label(key), " should be a power of two, got ", alignment);
  return alignment;
}

}  // namespace

FileContents read_gguf(std::span<const std::byte> file, std::string_view origin) {
  ByteReader reader(file, origin);
  const Counts counts = read_counts(reader, file, origin);
  const Metadata metadata(reader, counts.values, origin);
  if (const std::int64_t parts = metadata.integer("split.count", 0, 0xffff, 1); parts > 1) {
    fail(ErrorCode::unsupported, origin, " is one of ", parts,
         " parts of a model: join them with `llama-gguf-split --merge`");
  }
  FileContents contents;
  std::unordered_set<std::string> names;
  for (std::uint64_t i = 0; i < counts.tensors; ++i) {
    contents.tensors.push_back(read_tensor(reader, origin));
    const std::string& name = contents.tensors.back().name;
    if (!names.insert(name).second) fail_tensor(origin, name, "is there twice");
  }
  const std::uint64_t alignment = read_alignment(metadata);
  const std::uint64_t data_begin = (reader.position() + alignment - 1) / alignment * alignment;
  place(contents.tensors, origin, data_begin, alignment, file.size());
  contents.metadata = metadata.as_text();
  return contents;
}

Metadata read_gguf_metadata(std::span<const std::byte> file, std::string_view origin) {
  ByteReader reader(file, origin);
  const Counts counts = read_counts(reader, file, origin);
  return {reader, counts.values, origin};
}

}  // namespace ophis
