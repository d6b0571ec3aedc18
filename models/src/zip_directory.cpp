#include "models/src/zip_directory.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "models/src/byte_reader.hpp"
#include "models/src/json.hpp"

namespace ophis {
namespace {

constexpr std::uint32_t end_signature = 0x06054b50;
constexpr std::uint32_t end64_signature = 0x06064b50;
constexpr std::uint32_t locator64_signature = 0x07064b50;
constexpr std::uint32_t central_signature = 0x02014b50;
constexpr std::uint32_t local_signature = 0x04034b50;
constexpr std::uint64_t end_bytes = 22;
constexpr std::uint64_t locator64_bytes = 20;
constexpr std::uint64_t central_bytes = 46;  // without name, extra fields and comment
constexpr std::uint64_t max_comment_bytes = 0xffff;
constexpr std::uint16_t extra_id_zip64 = 1;
constexpr std::uint16_t absent16 = 0xffff;  // "see the ZIP64 field"
constexpr std::uint32_t absent32 = 0xffffffff;

/// The fields of a central directory record that are used.
struct CentralRecord {
  std::uint16_t flags;
  std::uint16_t compression;
  std::uint64_t stored_bytes;
  std::uint64_t full_bytes;
  std::uint64_t local_offset;
  std::string_view name;
};

/// Replaces the absent values by those of the ZIP64 extra field, which holds just these, in this order.
void apply_zip64(std::string_view extra, CentralRecord& record, std::string_view origin) {
  ByteReader fields(std::as_bytes(std::span(extra)), origin);
  while (fields.remaining() >= 4) {
    const auto id = fields.read<std::uint16_t>();
    const std::string_view field = fields.take(fields.read<std::uint16_t>());
    if (id != extra_id_zip64) continue;
    ByteReader values(std::as_bytes(std::span(field)), origin);
    if (record.full_bytes == absent32) record.full_bytes = values.read<std::uint64_t>();
    if (record.stored_bytes == absent32) record.stored_bytes = values.read<std::uint64_t>();
    if (record.local_offset == absent32) record.local_offset = values.read<std::uint64_t>();
    return;
  }
}

CentralRecord read_central(ByteReader& reader, std::string_view origin) {
  if (reader.read<std::uint32_t>() != central_signature) {
    fail(ErrorCode::corrupt_data, origin, ": no entry of the zip directory at offset ",
         reader.position() - 4);
  }
  reader.take(4);  // versions
  CentralRecord record{};
  record.flags = reader.read<std::uint16_t>();
  record.compression = reader.read<std::uint16_t>();
  reader.take(8);  // time, date, checksum
  record.stored_bytes = reader.read<std::uint32_t>();
  record.full_bytes = reader.read<std::uint32_t>();
  const auto name_bytes = reader.read<std::uint16_t>();
  const auto extra_bytes = reader.read<std::uint16_t>();
  const auto comment_bytes = reader.read<std::uint16_t>();
  reader.take(8);  // disk, attributes
  record.local_offset = reader.read<std::uint32_t>();
  record.name = reader.take(name_bytes);
  apply_zip64(reader.take(extra_bytes), record, origin);
  reader.take(comment_bytes);
  return record;
}

/// Where the content of an entry begins. Sizes are taken from the central directory: the local header may
/// leave them to a record that follows the content.
std::uint64_t content_offset(std::span<const std::byte> archive, const CentralRecord& record,
                             std::string_view origin) {
  ByteReader reader(archive, origin, std::min<std::uint64_t>(record.local_offset, archive.size()));
  if (reader.read<std::uint32_t>() != local_signature) {
    fail(ErrorCode::corrupt_data, origin, ": zip entry ", json_quoted(record.name),
         " has no header at offset ", record.local_offset);
  }
  reader.take(22);
  const auto name_bytes = reader.read<std::uint16_t>();
  const auto extra_bytes = reader.read<std::uint16_t>();
  if (reader.take(name_bytes) != record.name) {
    fail(ErrorCode::corrupt_data, origin, ": zip entry ", json_quoted(record.name),
         " has another name in its header");
  }
  reader.take(extra_bytes);
  if (record.stored_bytes > reader.remaining()) {
    fail(ErrorCode::corrupt_data, origin, ": zip entry ", json_quoted(record.name), " of ",
         record.stored_bytes, " bytes reaches past the end of the file");
  }
  return reader.position();
}

}  // namespace

ZipDirectory::ZipDirectory(std::span<const std::byte> archive, std::string_view origin)
    : m_archive(archive), m_origin(origin) {
  read_entries(locate());
}

ZipDirectory::Location ZipDirectory::locate() const {
  const std::uint64_t size = m_archive.size();
  for (std::uint64_t tail = end_bytes; tail <= std::min(size, end_bytes + max_comment_bytes); ++tail) {
    ByteReader reader(m_archive, m_origin, size - tail);
    if (reader.read<std::uint32_t>() != end_signature) continue;
    const auto disk = reader.read<std::uint16_t>();
    reader.take(4);  // disk of the directory, entries on this disk
    const auto entries = reader.read<std::uint16_t>();
    const auto bytes = reader.read<std::uint32_t>();
    const auto offset = reader.read<std::uint32_t>();
    if (reader.read<std::uint16_t>() != reader.remaining()) continue;  // the comment must end the file
    if (disk != 0 && disk != absent16)
      fail(ErrorCode::unsupported, m_origin, " is one part of a divided zip archive");
    Location directory{offset, bytes, entries};
    if (entries == absent16 || bytes == absent32 || offset == absent32) {
      directory = locate_zip64(size - tail, directory);
    }
    if (directory.offset > size - tail || directory.bytes > size - tail - directory.offset) {
      fail(ErrorCode::corrupt_data, m_origin, ": the zip directory lies outside the file");
    }
    return directory;
  }
  fail(ErrorCode::corrupt_data, m_origin, " is truncated or not a zip archive: it has no zip directory");
}

ZipDirectory::Location ZipDirectory::locate_zip64(std::uint64_t end_record, const Location& fallback) const {
  if (end_record < locator64_bytes) return fallback;
  ByteReader locator(m_archive, m_origin, end_record - locator64_bytes);
  if (locator.read<std::uint32_t>() != locator64_signature) return fallback;
  locator.take(4);  // disk
  const auto record_offset = locator.read<std::uint64_t>();
  ByteReader reader(m_archive, m_origin, std::min<std::uint64_t>(record_offset, m_archive.size()));
  if (reader.read<std::uint32_t>() != end64_signature) {
    fail(ErrorCode::corrupt_data, m_origin, ": no ZIP64 directory record at offset ", record_offset);
  }
  reader.take(28);  // size of the record, versions, disks, entries on this disk
  const auto entries = reader.read<std::uint64_t>();
  const auto bytes = reader.read<std::uint64_t>();
  const auto offset = reader.read<std::uint64_t>();
  return {offset, bytes, entries};
}

void ZipDirectory::read_entries(const Location& directory) {
  if (directory.entries > directory.bytes / central_bytes) {
    fail(ErrorCode::corrupt_data, m_origin, ": a zip directory of ", directory.bytes, " bytes cannot hold ",
         directory.entries, " entries");
  }
  ByteReader reader(m_archive.first(directory.offset + directory.bytes), m_origin, directory.offset);
  std::vector<std::pair<std::uint64_t, std::size_t>> starts;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const CentralRecord record = read_central(reader, m_origin);
    if (record.compression == 0 && record.stored_bytes != record.full_bytes) {
      fail(ErrorCode::corrupt_data, m_origin, ": zip entry ", json_quoted(record.name),
           " is stored but has two sizes");
    }
    const std::uint64_t offset = content_offset(m_archive, record, m_origin);
    starts.emplace_back(record.local_offset, m_entries.size());
    if (!m_by_name.emplace(record.name, m_entries.size()).second) {
      fail(ErrorCode::corrupt_data, m_origin, " has the zip entry ", json_quoted(record.name), " twice");
    }
    constexpr std::uint16_t encrypted_flag = 1;
    m_entries.push_back(
        {record.name, offset, record.stored_bytes, record.compression, (record.flags & encrypted_flag) != 0});
  }
  check_overlap(std::move(starts), directory.offset);
}

void ZipDirectory::check_overlap(std::vector<std::pair<std::uint64_t, std::size_t>> starts,
                                 std::uint64_t directory) const {
  std::sort(starts.begin(), starts.end());
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const ZipEntry& entry = m_entries[starts[i].second];
    const std::uint64_t next = i + 1 < starts.size() ? starts[i + 1].first : directory;
    if (entry.offset + entry.bytes > next) {
      fail(ErrorCode::corrupt_data, m_origin, ": zip entry ", json_quoted(entry.name),
           " overlaps what follows it");
    }
  }
}

const ZipEntry* ZipDirectory::find(std::string_view name) const {
  const auto found = m_by_name.find(name);
  return found == m_by_name.end() ? nullptr : &m_entries[found->second];
}

std::span<const std::byte> ZipDirectory::content(const ZipEntry& entry) const {
  if (entry.compression != 0 || entry.encrypted) {
    fail(ErrorCode::unsupported, m_origin, ": zip entry ", json_quoted(entry.name), " is ",
         entry.encrypted ? "encrypted" : "compressed",
         "; only stored entries, as PyTorch writes them, are read");
  }
  return m_archive.subspan(entry.offset, entry.bytes);
}

}  // namespace ophis
