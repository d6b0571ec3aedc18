#include "ophis/models/tokenizer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/src/json.hpp"
#include "models/src/tokenizer/unicode.hpp"
#include "ophis/core/error.hpp"

using nlohmann::json;
using ophis::Error;
using ophis::ErrorCode;
using ophis::StreamDecoder;
using ophis::Tokenizer;

namespace {

using Ids = std::vector<std::int32_t>;

const std::filesystem::path source_dir = OPHIS_SOURCE_DIR;
const std::filesystem::path tiny_path = source_dir / "examples/models/mamba-tiny/tokenizer.json";

const Tokenizer& tiny() {
  static const Tokenizer tokenizer = Tokenizer::from_file(tiny_path);
  return tokenizer;
}

/// The tokenizer of mamba-tiny with a JSON merge patch.
Tokenizer patched(const json& patch) {
  static const json original = ophis::read_json_file(tiny_path);
  json content = original;
  content.merge_patch(patch);
  return Tokenizer::from_json(content.dump(), "patched");
}

std::string decode_in_steps(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string piece = decoder.push(id);
    CHECK(ophis::tokenizer::valid_utf8_prefix(piece) == piece.size());
    text += piece;
  }
  return text + decoder.flush();
}

void check_decoding(const Tokenizer& tokenizer, const json& expected) {
  const auto ids = expected["ids"].get<Ids>();
  CHECK(tokenizer.decode(ids) == expected["decoded"].get<std::string>());
  CHECK(tokenizer.decode(ids, true) == expected["decoded_skip_special"].get<std::string>());
  CHECK(decode_in_steps(tokenizer, ids, false) == expected["decoded"].get<std::string>());
  CHECK(decode_in_steps(tokenizer, ids, true) == expected["decoded_skip_special"].get<std::string>());
}

void check_case(const Tokenizer& tokenizer, const json& expected) {
  const auto text = expected["text"].get<std::string>();
  CAPTURE(text);
  CHECK(tokenizer.encode(text) == expected["ids"].get<Ids>());
  check_decoding(tokenizer, expected);
}

json tokenizer_cases() { return ophis::read_json_file(source_dir / "tests/models/tokenizer_cases.json"); }

ErrorCode code_of(const json& patch) {
  try {
    patched(patch);
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("no error");
  return ErrorCode::internal;
}

json added_token(const std::string& content, std::int64_t id) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", false}};
}

json split(const std::string& pattern) {
  const json step = {
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const json sequence = {{"type", "Sequence"},
                         {"pretokenizers", {step, byte_level}},
                         {"trim_offsets", nullptr},
                         {"add_prefix_space", nullptr},
                         {"use_regex", nullptr}};
  return {{"pre_tokenizer", sequence}};
}

}  // namespace

TEST_CASE("tokenizer: every setting gives the ids of the tokenizers library") {
  const json cases = tokenizer_cases();
  for (const json& entry : cases["tokenizers"]) {
    const auto name = entry["name"].get<std::string>();
    CAPTURE(name);
    const Tokenizer tokenizer = patched(entry["patch"]);
    for (const json& expected : entry["cases"]) check_case(tokenizer, expected);
  }
}

TEST_CASE("tokenizer: broken bytes decode to one U+FFFD for each maximal part") {
  const json cases = tokenizer_cases();
  for (const json& expected : cases["decode"]) check_decoding(tiny(), expected);
}

TEST_CASE("tokenizer: the vocabulary") {
  CHECK(tiny().vocab_size() == 4096);
  CHECK(tiny().token_to_id("<|endoftext|>") == 0);
  CHECK(tiny().id_to_token(0) == "<|endoftext|>");
  CHECK(tiny().is_special(0));
  CHECK_FALSE(tiny().is_special(1));
  const auto the = tiny().token_to_id("\u0120the");
  REQUIRE(the.has_value());
  CHECK(tiny().id_to_token(*the) == "\u0120the");
  CHECK(tiny().encode(" the") == Ids{*the});
  CHECK_FALSE(tiny().token_to_id("no such token").has_value());
  CHECK_FALSE(tiny().id_to_token(4096).has_value());
  CHECK_FALSE(tiny().id_to_token(-1).has_value());
  CHECK_FALSE(tiny().is_special(-1));
}

TEST_CASE("tokenizer: a template can be left out") {
  const json part = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json post_processor = {{"type", "TemplateProcessing"},
                               {"single", {part, sequence}},
                               {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {0}}}}}},
                               {"add_prefix_space", nullptr},
                               {"trim_offsets", nullptr},
                               {"use_regex", nullptr}};
  const Tokenizer tokenizer = patched({{"post_processor", post_processor}});
  CHECK(tokenizer.encode("a", true).size() == 2);
  CHECK(tokenizer.encode("a", false) == tiny().encode("a"));
}

TEST_CASE("tokenizer: a stream holds unfinished characters back") {
  StreamDecoder decoder(tiny());
  const auto byte = [](const char* spelling) { return tiny().token_to_id(spelling).value(); };
  CHECK(decoder.push(byte("\u00e2")) == "");  // E2, 80, 99 are the bytes of U+2019
  CHECK(decoder.push(byte("\u0122")) == "");
  CHECK(decoder.push(byte("\u013b")) == "\u2019");
  CHECK(decoder.push(byte("\u00e2")) == "");
  CHECK(decoder.push(byte("a")) == "\ufffda");
  CHECK(decoder.push(byte("\u00e2")) == "");
  CHECK(decoder.flush() == "\ufffd");
  CHECK(decoder.flush() == "");
  CHECK_THROWS_AS(decoder.push(-1), Error);
}

TEST_CASE("tokenizer: long words and long texts") {
  const std::string word(200000, 'a');
  CHECK(tiny().decode(tiny().encode(word)) == word);
  std::string marks = "e";
  for (int i = 0; i < 50000; ++i) marks += "\u0301\u0316";
  CHECK(tiny().encode(marks).size() > 100000);
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "word" + std::to_string(i) + (i % 7 == 0 ? "\n\n" : "  ");
  CHECK(tiny().decode(tiny().encode(text)) == text);
}

TEST_CASE("tokenizer: text and ids that are refused") {
  CHECK_THROWS_WITH_AS(tiny().encode("ab\xC3("), "encode: the text is not valid UTF-8 at byte 2", Error);
  for (const char* text : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\xFF", "\x80"}) {
    CHECK_THROWS_AS(tiny().encode(text), Error);
  }
  CHECK_THROWS_WITH_AS(tiny().decode(Ids{1, -2}), "decode: token ids are not negative, got -2", Error);
}

TEST_CASE("tokenizer: files and folders") {
  CHECK(Tokenizer::from_file(tiny_path.parent_path()).vocab_size() == 4096);
  CHECK_THROWS_WITH_AS(Tokenizer::from_file(source_dir / "no_such_folder"),
                       doctest::Contains("no_such_folder"), Error);
  CHECK_THROWS_WITH_AS(Tokenizer::from_file(source_dir / "tests"), doctest::Contains("tokenizer.json"),
                       Error);
}

TEST_CASE("tokenizer: settings that are not implemented are named") {
  const json patches[] = {
      {{"version", "2.0"}},
      {{"truncation", {{"max_length", 8}}}},
      {{"padding", {{"pad_id", 0}}}},
      {{"something_new", 1}},
      {{"normalizer", {{"type", "Lowercase"}}}},
      {{"normalizer", {{"something_new", 1}}}},
      {{"pre_tokenizer", nullptr}},
      {{"pre_tokenizer", {{"type", "Metaspace"}}}},
      {{"pre_tokenizer", {{"something_new", true}}}},
      {{"post_processor", {{"type", "BertProcessing"}}}},
      {{"decoder", nullptr}},
      {{"decoder", {{"type", "WordPiece"}}}},
      {{"model", {{"type", "Unigram"}}}},
      {{"model", {{"dropout", 0.1}}}},
      {{"model", {{"byte_fallback", true}}}},
      {{"model", {{"continuing_subword_prefix", "##"}}}},
      {{"model", {{"end_of_word_suffix", "</w>"}}}},
      {{"model", {{"something_new", nullptr}, {"something_else", 1}}}},
  };
  for (const json& patch : patches) {
    const std::string shown = patch.dump();
    CAPTURE(shown);
    CHECK(code_of(patch) == ErrorCode::unsupported);
  }
  CHECK_THROWS_WITH_AS(patched({{"normalizer", {{"type", "Lowercase"}}}}),
                       "patched: normalizer: type 'Lowercase' is not supported", Error);
}

TEST_CASE("tokenizer: patterns that the regex libraries read differently are refused") {
  for (const char* pattern :
       {"\\w+",    "\\bx",    "\\h",   "a$",         "^a",      "[[:alpha:]]", "[a-z&&b]", "\\p{Han}",
        "\\pL",    "\\p{^L}", "(?m)a", "(?<name>a)", "a{2}?",   "a{2,3}+",     "a{,3}",    "\\x41",
        "(?i:ss)", "(*FAIL)", "[]a]",  "a\\",        "\\Qa\\E", "(a)\\1"}) {
    CAPTURE(pattern);
    CHECK(code_of(split(pattern)) == ErrorCode::unsupported);
  }
  for (const char* pattern : {"(a", "a)", "[a", "*a", "[z-a]", "(?<=a*)b"}) {
    CAPTURE(pattern);
    CHECK(code_of(split(pattern)) == ErrorCode::corrupt_data);
  }
  CHECK_THROWS_WITH_AS(patched(split("(a+)+b|[^a]")).encode(std::string(5000, 'a')),
                       doctest::Contains("match limit"), Error);
}

TEST_CASE("tokenizer: files that contradict the format") {
  const json patches[] = {
      {{"version", 1}},
      {{"added_tokens", 1}},
      {{"added_tokens", {1}}},
      {{"added_tokens", {{{"id", 0}}}}},
      {{"added_tokens", {added_token("", 4096)}}},
      {{"added_tokens", {added_token("new", 4097)}}},
      {{"added_tokens", {added_token("new", 5)}}},
      {{"added_tokens", {added_token("new", -1)}}},
      {{"added_tokens", {added_token("new", 4294967296)}}},
      {{"added_tokens", {added_token("the", 4096)}}},
      {{"added_tokens", {added_token("new", 4096), added_token("new", 4096)}}},
      {{"normalizer", 1}},
      {{"normalizer", {{"type", nullptr}}}},
      {{"normalizer", {{"type", "Sequence"}}}},
      {{"pre_tokenizer", {{"add_prefix_space", nullptr}}}},
      {{"pre_tokenizer", {{"use_regex", "yes"}}}},
      {{"post_processor", {{"type", 3}}}},
      {{"decoder", "ByteLevel"}},
      {{"model", nullptr}},
      {{"model", 5}},
      {{"model", {{"vocab", nullptr}}}},
      {{"model", {{"vocab", {1, 2}}}}},
      {{"model", {{"vocab", {{"the", -1}}}}}},
      {{"model", {{"vocab", {{"the", 2147483648}}}}}},
      {{"model", {{"vocab", {{"the", 1e300}}}}}},
      {{"model", {{"vocab", {{"the", 5}}}}}},
      {{"model", {{"vocab", {{"t", nullptr}}}}}},
      {{"model", {{"merges", nullptr}}}},
      {{"model", {{"merges", {1}}}}},
      {{"model", {{"merges", {"a b c"}}}}},
      {{"model", {{"merges", {"ab"}}}}},
      {{"model", {{"merges", json::array({json::array({"a"})})}}}},
      {{"model", {{"merges", {"qq zz"}}}}},
      {{"model", {{"fuse_unk", 1}}}},
      {{"model", {{"vocab", {{"!", nullptr}}}, {"unk_token", "nowhere"}}}},
  };
  for (const json& patch : patches) {
    const std::string shown = patch.dump();
    CAPTURE(shown);
    CHECK(code_of(patch) == ErrorCode::corrupt_data);
  }
  CHECK_THROWS_WITH_AS(patched({{"model", {{"vocab", {{"the", 5}}}}}}),
                       doctest::Contains("another token has the id 5"), Error);
  CHECK_THROWS_WITH_AS(Tokenizer::from_json("{}", "x.json"), doctest::Contains("x.json: pre_tokenizer"),
                       Error);
}

TEST_CASE("tokenizer: deep nesting and huge numbers") {
  constexpr std::size_t depth = 100000;
  const std::string deep = std::string(depth, '[') + std::string(depth, ']');
  std::string sequences = "null";
  for (int i = 0; i < 2000; ++i) sequences = R"({"type":"Sequence","normalizers":[)" + sequences + "]}";
  const std::string texts[] = {std::string(depth, '['),
                               deep,
                               R"({"model":)" + deep + "}",
                               R"({"normalizer":)" + deep + "}",
                               R"({"normalizer":)" + sequences + "}",
                               R"({"model":{"dropout":)" + deep + "}}",
                               R"({"version":1e999999})",
                               R"({"version":)" + std::string(depth, '9') + "}",
                               "",
                               std::string("\0", 1)};
  for (const std::string& text : texts) {
    CHECK_THROWS_AS(Tokenizer::from_json(text), Error);
  }
}
