// Writing the files that torch.save writes, and broken ones: a zip archive with a pickle and the storages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/checkpoint_files.hpp"

namespace ophis::test {

/// Appends pickle opcodes to a string.
class PickleWriter {
 public:
  explicit PickleWriter(int protocol = 2) : m_protocol(protocol) {
    op('\x80').raw(static_cast<char>(protocol));
  }

  PickleWriter& op(char opcode) { return raw(opcode); }
  PickleWriter& raw(std::string_view bytes) {
    m_bytes += bytes;
    return *this;
  }
  PickleWriter& raw(char byte) { return raw(std::string_view(&byte, 1)); }
  PickleWriter& global(std::string_view module, std::string_view name) {
    if (m_protocol >= 4) return text(module).text(name).op('\x93');
    return op('c').raw(module).raw('\n').raw(name).raw('\n');
  }
  PickleWriter& text(std::string_view value) {
    if (m_protocol >= 4)
      return op('\x8c').raw(little_endian(static_cast<std::uint8_t>(value.size()))).raw(value);
    return op('X').raw(little_endian(static_cast<std::uint32_t>(value.size()))).raw(value);
  }
  PickleWriter& integer(std::int64_t value) {
    if (value >= 0 && value < 256) return op('K').raw(static_cast<char>(value));
    if (value >= INT32_MIN && value <= INT32_MAX)
      return op('J').raw(little_endian(static_cast<std::int32_t>(value)));
    return op('\x8a').raw('\x08').raw(little_endian(value));
  }
  PickleWriter& integers(const std::vector<std::int64_t>& values) {
    op('(');
    for (const std::int64_t value : values) integer(value);
    return op('t');
  }
  PickleWriter& empty_ordered_dict() { return global("collections", "OrderedDict").op(')').op('R'); }
  std::string finish() {
    op('.');
    return m_bytes;
  }

 private:
  int m_protocol;
  std::string m_bytes;
};

/// One tensor as a pickle describes it; nothing need be true.
struct BinTensor {
  std::string name;
  std::string storage_type = "FloatStorage";
  std::string storage_key = "0";
  std::int64_t storage_count = 0;
  std::int64_t storage_offset = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  bool is_parameter = false;
};

inline void write_tensor(PickleWriter& pickle, const BinTensor& tensor) {
  if (tensor.is_parameter) pickle.global("torch._utils", "_rebuild_parameter").op('(');
  pickle.global("torch._utils", "_rebuild_tensor_v2").op('(');
  pickle.op('(').text("storage").global("torch", tensor.storage_type).text(tensor.storage_key).text("cpu");
  pickle.integer(tensor.storage_count).op('t').op('Q');
  pickle.integer(tensor.storage_offset)
      .integers(tensor.shape)
      .integers(tensor.strides)
      .op('\x89')
      .empty_ordered_dict();
  pickle.op('t').op('R');
  if (tensor.is_parameter) pickle.op('\x88').empty_ordered_dict().op('t').op('R');
}

/// An OrderedDict of the tensors, with the _metadata attribute that torch.nn.Module.state_dict adds.
inline std::string state_dict_pickle(const std::vector<BinTensor>& tensors, int protocol = 2) {
  PickleWriter pickle(protocol);
  pickle.empty_ordered_dict().op('q').raw('\0').op('(');
  for (const BinTensor& tensor : tensors) {
    pickle.text(tensor.name);
    write_tensor(pickle, tensor);
  }
  pickle.op('u').op('}').text("_metadata").empty_ordered_dict().op('s').op('b');
  return pickle.finish();
}

struct ZipOptions {
  bool align = true;       ///< contents at multiples of 64 bytes, as PyTorch does
  bool descriptor = true;  ///< sizes after the content instead of in the local header, as PyTorch does
  bool zip64 = false;      ///< 64-bit fields even where they are not needed
  std::uint16_t method = 0;
};

/// A zip archive of stored entries. The checksums are zero: the reader does not look at them.
class ZipWriter {
 public:
  explicit ZipWriter(ZipOptions options = {}) : m_options(options) {}

  void add(const std::string& name, const std::string& content) {
    const std::uint64_t offset = m_bytes.size();
    const std::uint32_t size = m_options.zip64 ? 0xffffffffu : static_cast<std::uint32_t>(content.size());
    const std::uint32_t local_size = m_options.descriptor ? 0 : static_cast<std::uint32_t>(content.size());
    std::string extra;
    if (m_options.align) extra = padding_field((64 - (offset + 30 + name.size() + 4) % 64) % 64);
    m_bytes += little_endian(std::uint32_t{0x04034b50}) + common_fields(local_size, name);
    m_bytes += little_endian(static_cast<std::uint16_t>(extra.size())) + name + extra + content;
    if (m_options.descriptor) {
      m_bytes += little_endian(std::uint32_t{0x08074b50}) + little_endian(std::uint32_t{0});
      m_bytes += little_endian(static_cast<std::uint32_t>(content.size()));
      m_bytes += little_endian(static_cast<std::uint32_t>(content.size()));
    }
    std::string wide;
    if (m_options.zip64) {
      const auto wide_size = little_endian(std::uint64_t{content.size()});
      wide = little_endian(std::uint16_t{1}) + little_endian(std::uint16_t{24}) + wide_size + wide_size;
      wide += little_endian(offset);
    }
    m_directory += little_endian(std::uint32_t{0x02014b50}) + little_endian(std::uint16_t{0});
    m_directory += common_fields(size, name) + little_endian(static_cast<std::uint16_t>(wide.size()));
    m_directory += std::string(10, '\0');  // comment size, disk, attributes
    m_directory +=
        little_endian(m_options.zip64 ? 0xffffffffu : static_cast<std::uint32_t>(offset)) + name + wide;
    ++m_entries;
  }

  std::string finish() const {
    std::string bytes = m_bytes + m_directory;
    const auto entries = little_endian(m_entries);
    if (m_options.zip64) {
      bytes +=
          little_endian(std::uint32_t{0x06064b50}) + little_endian(std::uint64_t{44}) + std::string(12, '\0');
      bytes += entries + entries + little_endian(std::uint64_t{m_directory.size()});
      bytes += little_endian(std::uint64_t{m_bytes.size()});
      bytes += little_endian(std::uint32_t{0x07064b50}) + little_endian(std::uint32_t{0});
      bytes +=
          little_endian(std::uint64_t{m_bytes.size() + m_directory.size()}) + little_endian(std::uint32_t{1});
    }
    const std::uint32_t absent = 0xffffffff;
    bytes += little_endian(std::uint32_t{0x06054b50}) + std::string(4, '\0');
    const auto count = m_options.zip64 ? std::string(2, '\xff') : entries.substr(0, 2);
    bytes += count + count;
    bytes += little_endian(m_options.zip64 ? absent : static_cast<std::uint32_t>(m_directory.size()));
    bytes += little_endian(m_options.zip64 ? absent : static_cast<std::uint32_t>(m_bytes.size()));
    return bytes + std::string(2, '\0');
  }

 private:
  /// Version needed to the length of the name: the fields that both kinds of header share.
  std::string common_fields(std::uint32_t size, const std::string& name) const {
    const std::uint16_t descriptor_flag = 8;
    return little_endian(std::uint16_t{45}) +
           little_endian(static_cast<std::uint16_t>(m_options.descriptor ? descriptor_flag : 0)) +
           little_endian(m_options.method) + std::string(8, '\0') + little_endian(size) +
           little_endian(size) + little_endian(static_cast<std::uint16_t>(name.size()));
  }

  static std::string padding_field(std::uint64_t size) {
    return "FB" + little_endian(static_cast<std::uint16_t>(size)) + std::string(size, 'Z');
  }

  ZipOptions m_options;
  std::string m_bytes;
  std::string m_directory;
  std::uint64_t m_entries = 0;
};

/// A whole file: `storages[i]` becomes the entry data/i.
inline std::string pytorch_bin_file(const std::string& pickle, const std::vector<std::string>& storages,
                                    ZipOptions options = {}, const std::string& byteorder = "little") {
  ZipWriter zip(options);
  zip.add("archive/data.pkl", pickle);
  zip.add("archive/byteorder", byteorder);
  for (std::size_t i = 0; i < storages.size(); ++i) zip.add("archive/data/" + std::to_string(i), storages[i]);
  zip.add("archive/version", "3\n");
  return zip.finish();
}

}  // namespace ophis::test
