#include "hub/src/model_files.hpp"

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "hub/src/hub_id.hpp"
#include "ophis/core/error.hpp"

namespace ophis::hub {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array<const char*, 2> configurations{"config.json", "params.json"};
/// In the order in which Checkpoint::open looks for them.
constexpr std::array<const char*, 5> weights{"model.safetensors", "model.safetensors.index.json",
                                             "consolidated.safetensors", "pytorch_model.bin",
                                             "pytorch_model.bin.index.json"};
constexpr const char* tokenizer = "tokenizer.json";
constexpr std::array<const char*, 4> extras{tokenizer, "tokenizer_config.json", "special_tokens_map.json",
                                            "generation_config.json"};

constexpr std::size_t max_index_bytes = std::size_t{16} << 20;
constexpr std::size_t max_shards = 1000;

json read_index(const fs::path& path) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) fail(ErrorCode::io, "could not read ", path.string(), ": ", error.message());
  if (size > max_index_bytes) {
    fail(ErrorCode::corrupt_data, path.string(), " has ", size, " bytes; at most ", max_index_bytes,
         " are expected");
  }
  std::ifstream file(path, std::ios::binary);
  json index = json::parse(file, nullptr, false);
  if (index.is_discarded()) fail(ErrorCode::corrupt_data, path.string(), " is not valid JSON");
  return index;
}

/// Shards are files of weights in the same folder; an index cannot ask for anything else.
bool is_shard_name(const std::string& name) {
  return is_plain_name(name) && (name.ends_with(".safetensors") || name.ends_with(".bin"));
}

std::set<std::string> shards_of(const fs::path& path) {
  const json index = read_index(path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    fail(ErrorCode::corrupt_data, path.string(), " has no object weight_map");
  }
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string() || !is_shard_name(shard.get_ref<const std::string&>())) {
      fail(ErrorCode::corrupt_data, path.string(), " maps a tensor to ",
           shard.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 200),
           ", which is not the name of a file of weights in the same folder");
    }
    shards.insert(shard.get<std::string>());
  }
  if (shards.size() > max_shards) {
    fail(ErrorCode::corrupt_data, path.string(), " names ", shards.size(), " files; at most ", max_shards,
         " are expected");
  }
  return shards;
}

class Search {
 public:
  Search(const std::function<Presence(const std::string&)>& find,
         const std::function<fs::path(const std::string&)>& path_of)
      : m_find(find), m_path_of(path_of) {}

  FoundFiles result;

  void need(const std::string& file) {
    if (m_find(file) != Presence::there) miss(file);
  }

  void take_if_there(const std::string& file) {
    if (m_find(file) == Presence::unknown) result.complete = false;
  }

  /// The first of several files, and with an index of shards those as well.
  template <class Names>
  void need_one_of(const Names& files) {
    std::string looked_for;
    for (const char* file : files) {
      if (m_find(file) == Presence::there) {
        if (std::string_view(file).ends_with(".index.json")) {
          for (const std::string& shard : shards_of(m_path_of(file))) need(shard);
        }
        return;
      }
      looked_for.append(looked_for.empty() ? "" : " or ").append(file);
    }
    miss(looked_for);
  }

 private:
  void miss(const std::string& what) {
    if (result.missing.empty()) result.missing = what;
    result.complete = false;
  }

  const std::function<Presence(const std::string&)>& m_find;
  const std::function<fs::path(const std::string&)>& m_path_of;
};

}  // namespace

FoundFiles find_model_files(ModelFiles wanted, const std::function<Presence(const std::string&)>& find,
                            const std::function<fs::path(const std::string&)>& path_of) {
  Search search(find, path_of);
  if (wanted == ModelFiles::tokenizer) {
    search.need(tokenizer);
    return search.result;
  }
  search.need_one_of(configurations);
  if (!search.result.missing.empty()) return search.result;
  for (const char* file : extras) search.take_if_there(file);
  search.need_one_of(weights);
  return search.result;
}

}  // namespace ophis::hub
