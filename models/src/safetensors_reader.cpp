#include "models/src/safetensors_reader.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "models/src/byte_reader.hpp"
#include "models/src/json.hpp"
#include "models/src/safetensors_format.hpp"
#include "models/src/two_level_json.hpp"

namespace ophis {
namespace {

template <class... Parts>
[[noreturn]] void fail_tensor(std::string_view origin, std::string_view name, const Parts&... parts) {
  fail(ErrorCode::corrupt_data, origin, ": tensor ", json_quoted(name), ' ', parts...);
}

void read_metadata(JsonSection& section, std::string_view origin,
                   std::map<std::string, std::string>& metadata) {
  if (!section.is_object) fail(ErrorCode::corrupt_data, origin, ": __metadata__ is not an object");
  for (auto& [key, leaf] : section.values) {
    if (leaf.kind != JsonLeaf::Kind::text) {
      fail(ErrorCode::corrupt_data, origin, ": __metadata__ ", json_quoted(key), " is not a string");
    }
    metadata.emplace(key, std::move(leaf.text));
  }
}

JsonLeaf& field(JsonSection& section, const std::string& key, JsonLeaf::Kind kind, std::string_view origin,
                const std::string& name) {
  const auto found = section.values.find(key);
  if (found == section.values.end()) fail_tensor(origin, name, "has no ", key);
  if (found->second.kind != kind) {
    const bool is_text = kind == JsonLeaf::Kind::text;
    fail_tensor(origin, name, "has a ", key, " that is not ",
                is_text ? "a string" : "a short list of non-negative integers");
  }
  return found->second;
}

/// Checks that the bytes fit the shape and the dtype. A dtype unknown to the format is not checked.
void check_size(const TensorRecord& record, std::string_view origin) {
  const std::optional<std::uint64_t> count = checked_count(record.shape);
  if (!count) fail_tensor(origin, record.name, "has a shape with too many elements");
  const auto known =
      std::find_if(safetensors::dtypes.begin(), safetensors::dtypes.end(),
                   [&](const safetensors::FormatDType& row) { return row.name == record.file_dtype; });
  if (known == safetensors::dtypes.end()) return;
  // Split so that count * bits cannot overflow.
  const std::uint64_t wanted = *count / 8 * known->bits + *count % 8 * known->bits / 8;
  if (*count % 8 * known->bits % 8 != 0 || wanted != record.bytes) {
    fail_tensor(origin, record.name, "has ", *count, " elements of dtype ", known->name, " but ",
                record.bytes, " bytes of data");
  }
}

TensorRecord read_tensor(const std::string& name, JsonSection& section, std::string_view origin,
                         std::uint64_t data_begin, std::uint64_t data_bytes) {
  if (!section.is_object) fail_tensor(origin, name, "is not described by an object");
  TensorRecord record;
  record.name = name;
  record.file_dtype = std::move(field(section, "dtype", JsonLeaf::Kind::text, origin, name).text);
  for (const safetensors::FormatDType& row : safetensors::dtypes) {
    if (row.name == record.file_dtype) record.dtype = row.dtype;
  }
  for (const std::uint64_t extent :
       field(section, "shape", JsonLeaf::Kind::integers, origin, name).integers) {
    if (extent > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      fail_tensor(origin, name, "has an extent of ", extent);
    }
    record.shape.push_back(static_cast<std::int64_t>(extent));
  }
  const std::vector<std::uint64_t>& offsets =
      field(section, "data_offsets", JsonLeaf::Kind::integers, origin, name).integers;
  if (offsets.size() != 2) fail_tensor(origin, name, "has ", offsets.size(), " data_offsets instead of 2");
  if (offsets[0] > offsets[1] || offsets[1] > data_bytes) {
    fail_tensor(origin, name, "has data_offsets [", offsets[0], ", ", offsets[1], "] outside the ",
                data_bytes, " bytes of data");
  }
  record.bytes = offsets[1] - offsets[0];
  record.region_offset = data_begin + offsets[0];
  record.region_bytes = record.bytes;
  check_size(record, origin);
  return record;
}

/// The format allows neither overlaps nor holes, so that nothing can hide in a file.
void check_layout(const std::vector<TensorRecord>& tensors, std::string_view origin, std::uint64_t data_begin,
                  std::uint64_t file_bytes) {
  std::vector<const TensorRecord*> sorted;
  for (const TensorRecord& record : tensors) sorted.push_back(&record);
  std::sort(sorted.begin(), sorted.end(), [](const TensorRecord* a, const TensorRecord* b) {
    return std::pair(a->region_offset, a->region_bytes) < std::pair(b->region_offset, b->region_bytes);
  });
  std::uint64_t end = data_begin;
  for (const TensorRecord* record : sorted) {
    if (record->region_offset != end) {
      fail_tensor(origin, record->name,
                  record->region_offset < end ? "overlaps another tensor" : "follows a hole", " at byte ",
                  record->region_offset);
    }
    end += record->region_bytes;
  }
  if (end != file_bytes) {
    fail(ErrorCode::corrupt_data, origin, " has ", file_bytes - end,
         " bytes of data that belong to no tensor");
  }
}

/// Whether a name in a weight_map is that of a file in the index's own folder.
bool is_plain_file_name(std::string_view name) {
  constexpr std::string_view separators("/\\\0", 3);
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(separators) == std::string_view::npos;
}

}  // namespace

FileContents read_safetensors(std::span<const std::byte> file, std::string_view origin) {
  reject_lfs_pointer(file, origin);
  ByteReader reader(file, origin);
  const auto header_bytes = reader.read<std::uint64_t>();
  if (header_bytes > safetensors::max_header_bytes || header_bytes > reader.remaining()) {
    fail(ErrorCode::corrupt_data, origin, " is truncated or not a safetensors file: a header of ",
         header_bytes, " bytes in a file of ", file.size());
  }
  const std::string_view header = reader.take(header_bytes);
  if (!header.starts_with('{'))
    fail(ErrorCode::corrupt_data, origin, ": the safetensors header is not a JSON object");

  FileContents contents;
  read_two_level_json(header, origin, [&](const std::string& name, JsonSection& section) {
    if (name == safetensors::metadata_key) {
      read_metadata(section, origin, contents.metadata);
    } else {
      contents.tensors.push_back(read_tensor(name, section, origin, reader.position(), reader.remaining()));
    }
  });
  check_layout(contents.tensors, origin, reader.position(), file.size());
  return contents;
}

std::map<std::string, std::set<std::string>> read_shard_index(const std::filesystem::path& path) {
  const std::string origin = path.string();
  std::map<std::string, std::set<std::string>> files;
  bool found = false;
  const std::string text = read_text_file(path, safetensors::max_header_bytes);
  read_two_level_json(text, origin, [&](const std::string& name, JsonSection& section) {
    if (name != "weight_map") return;
    found = section.is_object;
    for (const auto& [tensor, leaf] : section.values) {
      if (leaf.kind != JsonLeaf::Kind::text || !is_plain_file_name(leaf.text)) {
        fail_tensor(origin, tensor, "is mapped to ", json_quoted(leaf.text),
                    ", which is not the name of a file in the same folder");
      }
      files[leaf.text].insert(tensor);
    }
  });
  if (!found) fail(ErrorCode::corrupt_data, origin, " has no object weight_map");
  return files;
}

}  // namespace ophis
