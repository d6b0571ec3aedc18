#include "ophis/models/safetensors_writer.hpp"

#include <algorithm>
#include <locale>
#include <sstream>
#include <unordered_set>
#include <utility>
#include <vector>

#include "models/src/atomic_file.hpp"
#include "models/src/json.hpp"
#include "models/src/safetensors_format.hpp"

namespace ophis {
namespace {

using Order = std::vector<const NamedTensor*>;

std::string json_string(const std::string& text, std::string_view what) {
  OPHIS_REQUIRE(is_utf8(text), "save_safetensors: ", what, ' ', json_quoted(text), " is not UTF-8");
  return nlohmann::json(text).dump();
}

void check(std::span<const NamedTensor> tensors) {
  std::unordered_set<std::string_view> names;
  for (const NamedTensor& named : tensors) {
    OPHIS_REQUIRE(named.name != safetensors::metadata_key && names.insert(named.name).second,
                  "save_safetensors: the name ", json_quoted(named.name), " is reserved or given twice");
    OPHIS_REQUIRE(named.tensor, "save_safetensors: tensor ", json_quoted(named.name), " is empty");
    if (named.tensor.device() != Device::cpu()) {
      fail(ErrorCode::unsupported, "save_safetensors: tensor ", json_quoted(named.name), " is on device ",
           named.tensor.device(), "; copy it to the host first");
    }
  }
}

/// Larger elements first: each tensor then begins at a multiple of its element's size, without holes.
Order order_by_alignment(std::span<const NamedTensor> tensors) {
  Order order;
  for (const NamedTensor& named : tensors) order.push_back(&named);
  std::stable_sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return size_of(a->tensor.dtype()) > size_of(b->tensor.dtype());
  });
  return order;
}

std::string_view format_name(DType dtype) {
  return std::find_if(safetensors::dtypes.begin(), safetensors::dtypes.end(),
                      [&](const safetensors::FormatDType& row) { return row.dtype == dtype; })
      ->name;
}

void describe(std::ostream& out, const Tensor& tensor, std::uint64_t begin) {
  out << R"({"dtype":")" << format_name(tensor.dtype()) << R"(","shape":[)";
  for (int axis = 0; axis < tensor.rank(); ++axis) out << (axis > 0 ? "," : "") << tensor.extent(axis);
  out << R"(],"data_offsets":[)" << begin << ',' << begin + tensor.bytes() << "]}";
}

void describe_metadata(std::ostream& out, const std::map<std::string, std::string>& metadata) {
  out << '"' << safetensors::metadata_key << R"(":{)";
  const char* separator = "";
  for (const auto& [key, value] : metadata) {
    out << std::exchange(separator, ",") << json_string(key, "metadata") << ':'
        << json_string(value, "metadata");
  }
  out << '}';
}

/// The length, the header and spaces up to the next multiple of 8, so that the data begin aligned.
std::string make_header(const Order& order, const std::map<std::string, std::string>& metadata) {
  std::ostringstream out;
  out.imbue(std::locale::classic());  // a user's locale might group the digits
  out << '{';
  if (!metadata.empty()) describe_metadata(out, metadata);
  const char* separator = metadata.empty() ? "" : ",";
  std::uint64_t offset = 0;
  for (const NamedTensor* named : order) {
    out << std::exchange(separator, ",") << json_string(named->name, "the name") << ':';
    describe(out, named->tensor, offset);
    offset += named->tensor.bytes();
  }
  out << '}';
  std::string text = std::move(out).str();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  OPHIS_REQUIRE(text.size() <= safetensors::max_header_bytes, "save_safetensors: a header of ", text.size(),
                " bytes; the format allows ", safetensors::max_header_bytes);
  std::string length(safetensors::length_bytes, '\0');
  for (std::size_t i = 0; i < length.size(); ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
  return length + text;
}

void write_elements(AtomicFile& file, const Tensor& tensor) {
  if (tensor.is_contiguous()) {
    file.write({static_cast<const std::byte*>(tensor.raw()), tensor.bytes()});
    return;
  }
  for (std::int64_t i = 0; i < tensor.extent(0); ++i) write_elements(file, tensor.select(0, i));
}

}  // namespace

void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const std::map<std::string, std::string>& metadata) {
  check(tensors);
  const Order order = order_by_alignment(tensors);
  const std::string header = make_header(order, metadata);
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(header)));
  for (const NamedTensor* named : order) write_elements(file, named->tensor);
  file.commit();
}

}  // namespace ophis
