// Mutated tokenizer.json files: each must load or throw ophis::Error, and what loads must work.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "models/src/json.hpp"
#include "models/src/tokenizer/byte_level.hpp"
#include "ophis/core/error.hpp"
#include "ophis/models/tokenizer.hpp"

using nlohmann::json;
using ophis::Error;
using ophis::Tokenizer;

namespace {

using Random = std::mt19937;

std::size_t below(Random& random, std::size_t bound) { return random() % bound; }

json step(const char* type) { return {{"type", type}, {"add_prefix_space", false}, {"trim_offsets", true}}; }

json added_token(const std::string& content, std::int64_t id, bool strip) {
  return {{"id", id},        {"content", content},  {"single_word", strip}, {"lstrip", strip},
          {"rstrip", strip}, {"normalized", strip}, {"special", !strip}};
}

/// A small file that uses every part of the format.
json small_tokenizer() {
  json vocab = json::object();
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    vocab[ophis::tokenizer::spell_bytes({&c, 1})] = byte;
  }
  json merges = json::array();
  const std::vector<std::pair<std::string, std::string>> pairs{{"t", "h"},        {"th", "e"}, {"i", "n"},
                                                               {"\u0120", "the"}, {"in", "g"}, {"1", "2"}};
  for (const auto& [left, right] : pairs) {
    vocab[left + right] = vocab.size();
    merges.push_back(merges.size() % 2 ? json(left + " " + right) : json({left, right}));
  }
  const auto next_id = static_cast<std::int64_t>(vocab.size());
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", R"((?i:'s|'t)|\p{N}{1,3}|[^\s\p{L}]+|\s+(?!\S))"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  const json literal = {
      {"type", "Split"}, {"pattern", {{"String", "--"}}}, {"behavior", "Removed"}, {"invert", false}};
  const json single = {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                       {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}};
  const json bos = {{"type", "TemplateProcessing"},
                    {"single", single},
                    {"pair", json::array()},
                    {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {next_id}}, {"tokens", {"<s>"}}}}}}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", {added_token("<s>", next_id, false), added_token("e\u0301t", next_id + 1, true)}},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, literal, step("ByteLevel")}}}},
          {"post_processor", {{"type", "Sequence"}, {"processors", {step("ByteLevel"), bos}}}},
          {"decoder", step("ByteLevel")},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", "!"},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", true},
            {"byte_fallback", false},
            {"ignore_merges", true},
            {"vocab", vocab},
            {"merges", merges}}}};
}

std::string flip_bytes(std::string text, Random& random) {
  const std::size_t count = 1 + below(random, 4);
  for (std::size_t i = 0; i < count; ++i)
    text[below(random, text.size())] ^= static_cast<char>(1 + below(random, 255));
  return text;
}

std::string cut(const std::string& text, Random& random) {
  return text.substr(0, below(random, text.size()));
}

std::string repeat_part(std::string text, Random& random) {
  const std::size_t at = below(random, text.size());
  return text.insert(at, text.substr(below(random, text.size()), 1 + below(random, 40)));
}

/// Replaces, removes or adds one value somewhere.
std::string change_value(json content, Random& random) {
  const json values[] = {nullptr,
                         true,
                         0,
                         -1,
                         5,
                         2147483648,
                         1e300,
                         "",
                         "NFC",
                         "\\p",
                         "(a",
                         json::array(),
                         json::object(),
                         {1, "a"},
                         json::array({json::array({"t", "zz"})})};
  json* place = &content;
  while (place->is_structured() && !place->empty() && (place == &content || below(random, 5) != 0)) {
    auto next = place->begin();
    std::advance(next, below(random, place->size()));
    place = &*next;
  }
  const json& value = values[below(random, std::size(values))];
  switch (below(random, 3)) {
    case 0:
      *place = value;
      break;
    case 1:
      place->is_array() ? place->push_back(value) : void(*place = value);
      break;
    default:
      if (place->is_object()) {
        (*place)[below(random, 2) ? "id" : "type"] = value;
      } else {
        *place = json::array({*place, value});
      }
  }
  return content.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// Whether the file loads; anything but success or ophis::Error fails the test.
bool survives(const std::string& file) {
  try {
    const Tokenizer tokenizer = Tokenizer::from_json(file, "mutated");
    const std::vector<std::int32_t> ids = tokenizer.encode("The  thing's e\u0301t--<s>12345\u4e2d\r\n");
    tokenizer.decode(ids, true);
    return true;
  } catch (const Error& error) {
    CHECK(std::string(error.what()).size() < 1000);
    return false;
  }
}

}  // namespace

TEST_CASE("tokenizer fuzz: mutated files load or are refused") {
  const json content = small_tokenizer();
  const std::string text = content.dump();
  REQUIRE(survives(text));
  int loaded = 0;
  int refused = 0;
  for (unsigned seed = 0; seed < 600; ++seed) {
    Random random(seed);
    CAPTURE(seed);
    std::string file;
    switch (seed % 6) {
      case 0:
        file = flip_bytes(text, random);
        break;
      case 1:
        file = cut(text, random);
        break;
      case 2:
        file = repeat_part(text, random);
        break;
      default:
        file = change_value(content, random);
        break;
    }
    CAPTURE(file);
    (survives(file) ? loaded : refused) += 1;
  }
  CHECK(loaded >= 20);
  CHECK(refused >= 200);
}

TEST_CASE("tokenizer fuzz: a real file with a few bytes changed") {
  const std::filesystem::path path =
      std::filesystem::path(OPHIS_SOURCE_DIR) / "examples/models/mamba-tiny/tokenizer.json";
  const std::string text = ophis::read_text_file(path);
  for (unsigned seed = 0; seed < 12; ++seed) {
    Random random(seed);
    CAPTURE(seed);
    survives(seed % 3 == 0 ? cut(text, random) : flip_bytes(text, random));
  }
}
