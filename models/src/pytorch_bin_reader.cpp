#include "models/src/pytorch_bin_reader.hpp"

#include <utility>

#include "models/src/json.hpp"
#include "models/src/pickle_reader.hpp"
#include "models/src/zip_directory.hpp"

namespace ophis {
namespace {

constexpr std::string_view pickle_entry = "/data.pkl";

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void reject_other_formats(std::span<const std::byte> file, std::string_view origin) {
  reject_lfs_pointer(file, origin);
  constexpr char pickle_start = '\x80';
  if (as_text(file).starts_with(pickle_start)) {
    fail(ErrorCode::unsupported, origin,
         " has the format of PyTorch before 1.6: load it with torch.load and save it again with torch.save");
  }
}

/// The folder of the archive that holds everything; its name is the writer's choice.
std::string_view find_folder(const ZipDirectory& zip, std::string_view origin) {
  std::string_view folder;
  for (const ZipEntry& entry : zip.entries()) {
    if (!entry.name.ends_with(pickle_entry)) continue;
    const std::string_view candidate = entry.name.substr(0, entry.name.size() - pickle_entry.size());
    if (candidate.empty() || candidate.find('/') != std::string_view::npos) continue;
    if (!folder.empty()) fail(ErrorCode::corrupt_data, origin, " holds more than one data.pkl");
    folder = candidate;
  }
  if (folder.empty())
    fail(ErrorCode::corrupt_data, origin, " is a zip archive without a data.pkl: not PyTorch's");
  return folder;
}

/// One tensor together with the archive that should hold its storage.
class TensorPlacer {
 public:
  TensorPlacer(const ZipDirectory& zip, std::string_view origin, std::string_view folder,
               PickledTensor tensor)
      : m_zip(zip), m_origin(origin), m_folder(folder), m_tensor(std::move(tensor)) {}

  TensorRecord place(std::span<const std::byte> file) const {
    const std::span<const std::byte> storage = find_storage();
    TensorRecord record;
    record.name = m_tensor.name;
    record.file_dtype = to_string(m_tensor.dtype);
    record.dtype = m_tensor.dtype;
    record.shape = m_tensor.shape;
    const std::uint64_t count = check_elements();
    record.strides = usable_strides(count);
    record.bytes = count * size_of(m_tensor.dtype);
    record.region_offset = static_cast<std::uint64_t>(storage.data() - file.data());
    record.region_bytes = storage.size();
    record.first_element =
        count == 0 ? 0 : static_cast<std::uint64_t>(m_tensor.storage_offset) * size_of(m_tensor.dtype);
    return record;
  }

 private:
  std::span<const std::byte> find_storage() const {
    const std::string name = std::string(m_folder) + "/data/" + std::string(m_tensor.storage_key);
    const ZipEntry* const entry = m_zip.find(name);
    if (entry == nullptr) fail_tensor("lies in the zip entry ", json_quoted(name), ", which is missing");
    const std::span<const std::byte> storage = m_zip.content(*entry);
    if (m_tensor.storage_count < 0 ||
        static_cast<std::uint64_t>(m_tensor.storage_count) > storage.size() / size_of(m_tensor.dtype)) {
      fail_tensor("has a storage of ", m_tensor.storage_count, " elements of ", m_tensor.dtype, ", but ",
                  json_quoted(name), " has ", storage.size(), " bytes");
    }
    return storage;
  }

  /// Checks that every element lies in the storage; the number of elements.
  std::uint64_t check_elements() const {
    if (m_tensor.shape.size() != m_tensor.strides.size()) {
      fail_tensor("has ", m_tensor.shape.size(), " axes but ", m_tensor.strides.size(), " strides");
    }
    const std::optional<std::uint64_t> count = checked_count(m_tensor.shape);
    if (!count) fail_tensor("has a negative extent or too many elements");
    if (*count == 0) return 0;
    const std::int64_t limit = m_tensor.storage_count;
    if (*count > static_cast<std::uint64_t>(limit)) {
      fail_tensor("has ", *count, " elements in a storage of ", limit, "; expanded tensors are not read");
    }
    std::int64_t last = m_tensor.storage_offset;
    bool inside = last >= 0 && last < limit;
    for (std::size_t i = 0; inside && i < m_tensor.shape.size(); ++i) {
      const std::int64_t steps = m_tensor.shape[i] - 1;
      const std::int64_t stride = m_tensor.strides[i];
      if (steps == 0) continue;
      inside = stride >= 0 && stride <= (limit - 1 - last) / steps;
      if (inside) last += steps * stride;
    }
    if (!inside) fail_tensor("reaches outside the ", limit, " elements of its storage");
    return *count;
  }

  /// The strides, where those that no element needs, which may be anything in the file, are as in a dense
  /// tensor.
  std::vector<std::int64_t> usable_strides(std::uint64_t count) const {
    if (count == 0) return {};
    std::vector<std::int64_t> strides = m_tensor.strides;
    std::int64_t dense = 1;
    for (std::size_t i = strides.size(); i-- > 0;) {
      if (m_tensor.shape[i] == 1) strides[i] = dense;
      dense = strides[i] * m_tensor.shape[i];
    }
    return strides;
  }

  template <class... Parts>
  [[noreturn]] void fail_tensor(const Parts&... parts) const {
    fail(ErrorCode::corrupt_data, m_origin, ": tensor ", json_quoted(m_tensor.name), ' ', parts...);
  }

  const ZipDirectory& m_zip;
  std::string_view m_origin;
  std::string_view m_folder;
  PickledTensor m_tensor;
};

}  // namespace

FileContents read_pytorch_bin(std::span<const std::byte> file, std::string_view origin) {
  reject_other_formats(file, origin);
  const ZipDirectory zip(file, origin);
  const std::string_view folder = find_folder(zip, origin);
  if (const ZipEntry* const order = zip.find(std::string(folder) + "/byteorder");
      order != nullptr && as_text(zip.content(*order)) != "little") {
    fail(ErrorCode::unsupported, origin, " holds data of byte order ",
         json_quoted(as_text(zip.content(*order)), 20), "; only little-endian data are read");
  }
  const ZipEntry& pickle = *zip.find(std::string(folder) + std::string(pickle_entry));
  const std::string pickle_origin = std::string(origin) + ": data.pkl";
  FileContents contents;
  for (PickledTensor& tensor : read_pickled_tensors(zip.content(pickle), pickle_origin)) {
    contents.tensors.push_back(TensorPlacer(zip, origin, folder, std::move(tensor)).place(file));
  }
  return contents;
}

}  // namespace ophis
