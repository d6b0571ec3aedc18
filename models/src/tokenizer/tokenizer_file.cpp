#include "models/src/tokenizer/tokenizer_file.hpp"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "models/src/json.hpp"
#include "models/src/tokenizer/unicode.hpp"
#include "ophis/core/error.hpp"

namespace ophis::tokenizer {
namespace {

using nlohmann::json;

// The pattern of ByteLevel: the one of GPT-2 (Radford et al., 2019).
constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

constexpr std::string_view no_decoding = "byte-level BPE needs the decoder ByteLevel";

// A value in the file together with the way to it, for errors.
struct Field {
  const json& value;
  std::string path;  // "tokenizer.json: model.vocab"

  [[noreturn]] void wrong(std::string_view wanted) const {
    fail(ErrorCode::corrupt_data, path, " should be ", wanted, ", got ", value.type_name());
  }
  [[noreturn]] void unsupported(std::string_view why) const { fail(ErrorCode::unsupported, path, ": ", why); }

  Field element(std::size_t i) const { return {value[i], path + "[" + std::to_string(i) + "]"}; }
  Field member(const std::string& key) const {
    if (!has(key)) fail(ErrorCode::corrupt_data, path, " has no ", in_quotes(key));
    const char* separator = path.ends_with(':') ? " " : ".";
    return {value[key], path + separator + key};
  }
  bool has(const std::string& key) const { return value.contains(key); }
  bool is_set(const std::string& key) const { return has(key) && !value[key].is_null(); }

  const std::string& string() const {
    if (!value.is_string()) wrong("a string");
    return value.get_ref<const std::string&>();
  }
  bool boolean() const {
    if (!value.is_boolean()) wrong("true or false");
    return value.get<bool>();
  }
  bool flag(const std::string& key, bool otherwise) const {
    return has(key) ? member(key).boolean() : otherwise;
  }
  std::int32_t id() const {
    constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
    if (value.is_number_unsigned() && value.get<std::uint64_t>() <= largest) return value.get<std::int32_t>();
    fail(ErrorCode::corrupt_data, path, " should be a token id, an integer in 0..", largest, ", got ",
         value.is_number() ? value.dump() : value.type_name());
  }
  const Field& array() const {
    if (!value.is_array()) wrong("an array");
    return *this;
  }
  // An object without other keys than these: an unknown key may change what the tokenizer does.
  const Field& object(std::initializer_list<std::string_view> keys) const {
    if (!value.is_object()) wrong("an object");
    for (const auto& item : value.items()) {
      if (std::find(keys.begin(), keys.end(), item.key()) == keys.end()) {
        unsupported("unknown field " + in_quotes(item.key()));
      }
    }
    return *this;
  }
  std::string type() const {
    if (!value.is_object()) wrong("an object or null");
    return member("type").string();
  }
  [[noreturn]] void unsupported_type() const {
    unsupported("type " + in_quotes(type()) + " is not supported");
  }
};

// The steps of a normalizer, pre-tokenizer or post-processor, which may be nested Sequences; none for null.
void flatten(const Field& step, const char* list_key, std::vector<Field>& steps, int depth = 0) {
  if (step.value.is_null()) return;
  if (step.type() != "Sequence") {
    steps.push_back(step);
    return;
  }
  if (depth == 8) step.unsupported("Sequences are nested too deeply");
  const Field list = step.object({"type", list_key}).member(list_key).array();
  for (std::size_t i = 0; i < list.value.size(); ++i) flatten(list.element(i), list_key, steps, depth + 1);
}

std::vector<Field> steps_of(const Field& root, const char* key, const char* list_key) {
  std::vector<Field> steps;
  if (root.has(key)) flatten(root.member(key), list_key, steps);
  return steps;
}

void read_normalizer(const Field& root, TokenizerSpec& spec) {
  for (const Field& step : steps_of(root, "normalizer", "normalizers")) {
    if (step.type() != "NFC") step.unsupported_type();
    step.object({"type"});
    spec.nfc = true;
  }
}

SplitStep read_byte_level(const Field& step) {
  step.object({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  SplitStep out{};
  out.add_space = step.member("add_prefix_space").boolean();
  if (step.flag("use_regex", true)) out.pattern = gpt2_pattern;
  return out;
}

SplitStep read_split(const Field& step) {
  step.object({"type", "pattern", "behavior", "invert"});
  SplitStep out{};
  const Field pattern = step.member("pattern").object({"Regex", "String"});
  out.literal = pattern.has("String");
  out.pattern = pattern.member(out.literal ? "String" : "Regex").string();
  const Field behavior = step.member("behavior");
  out.remove = behavior.string() == "Removed";
  if (!out.remove && behavior.string() != "Isolated") {
    behavior.unsupported(in_quotes(behavior.string()) + "; Isolated and Removed are supported");
  }
  out.invert = step.member("invert").boolean();
  return out;
}

void read_pre_tokenizer(const Field& root, TokenizerSpec& spec) {
  bool byte_level = false;
  for (const Field& step : steps_of(root, "pre_tokenizer", "pretokenizers")) {
    if (byte_level) step.unsupported("a step after ByteLevel");
    byte_level = step.type() == "ByteLevel";
    if (!byte_level && step.type() != "Split") step.unsupported_type();
    spec.split_steps.push_back(byte_level ? read_byte_level(step) : read_split(step));
  }
  if (!byte_level) {
    fail(ErrorCode::unsupported, root.path,
         " pre_tokenizer: only byte-level BPE is supported, with ByteLevel last");
  }
}

void read_decoder(const Field& root) {
  if (!root.is_set("decoder")) fail(ErrorCode::unsupported, root.path, " decoder: ", no_decoding);
  const Field decoder = root.member("decoder");
  if (decoder.type() != "ByteLevel")
    decoder.unsupported("type " + in_quotes(decoder.type()) + ": " + std::string(no_decoding));
  decoder.object({"type", "add_prefix_space", "trim_offsets", "use_regex"});  // none changes the text
}

// {"single": [{"SpecialToken": {"id": name}}, {"Sequence": {"id": "A"}}, ...], "special_tokens": {name:
// {"ids": [..]}}}
void read_template(const Field& step, TokenizerSpec& spec) {
  step.object({"type", "single", "pair", "special_tokens"});
  const Field single = step.member("single").array();
  std::vector<std::int32_t> before, after;
  bool text_seen = false;
  for (std::size_t i = 0; i < single.value.size(); ++i) {
    const Field part = single.element(i).object({"SpecialToken", "Sequence"});
    if (part.has("Sequence")) {
      if (text_seen || part.member("Sequence").member("id").string() != "A")
        part.unsupported("a second text");
      text_seen = true;
      continue;
    }
    const std::string& name = part.member("SpecialToken").member("id").string();
    const Field ids = step.member("special_tokens").member(name).member("ids").array();
    for (std::size_t k = 0; k < ids.value.size(); ++k)
      (text_seen ? after : before).push_back(ids.element(k).id());
  }
  if (!text_seen) single.unsupported("a template without the text");
  spec.prefix_ids.insert(spec.prefix_ids.begin(), before.begin(), before.end());
  spec.suffix_ids.insert(spec.suffix_ids.end(), after.begin(), after.end());
}

void read_post_processor(const Field& root, TokenizerSpec& spec) {
  for (const Field& step : steps_of(root, "post_processor", "processors")) {
    if (step.type() == "TemplateProcessing") {
      read_template(step, spec);
    } else if (step.type() == "ByteLevel") {  // only moves offsets
      step.object({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    } else {
      step.unsupported_type();
    }
  }
}

void read_vocab(const Field& vocab, BpeSpec& bpe) {
  if (!vocab.value.is_object()) vocab.wrong("an object");
  std::unordered_set<std::int32_t> ids;
  bpe.vocab.reserve(vocab.value.size());
  for (const auto& [token, id] : vocab.value.items()) {
    const Field field{id, vocab.path + "[" + in_quotes(token) + "]"};
    bpe.vocab.emplace_back(token, field.id());
    if (!ids.insert(bpe.vocab.back().second).second) {
      fail(ErrorCode::corrupt_data, field.path, ": another token has the id ", bpe.vocab.back().second,
           ", too");
    }
  }
}

void read_merges(const Field& merges, BpeSpec& bpe) {
  merges.array();
  bpe.merges.reserve(merges.value.size());
  for (std::size_t i = 0; i < merges.value.size(); ++i) {
    const json& merge = merges.value[i];
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      bpe.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    const std::string text = merge.is_string() ? merge.get<std::string>() : std::string();
    if (text.starts_with("#version")) continue;  // the first line of the older merges.txt
    const std::size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      merges.element(i).wrong("a pair of tokens, as [\"a\", \"b\"] or \"a b\"");
    }
    bpe.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
}

void read_model(const Field& model, BpeSpec& bpe) {
  if (model.has("type") && model.type() != "BPE") model.unsupported_type();
  model.object({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (model.is_set("dropout") && model.member("dropout").value != 0) {
    model.member("dropout").unsupported("merging at random is not supported");
  }
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model.is_set(affix) && !model.member(affix).string().empty())
      model.member(affix).unsupported("not supported");
  }
  if (model.flag("byte_fallback", false)) model.member("byte_fallback").unsupported("not supported");
  if (model.is_set("unk_token")) bpe.unk_token = model.member("unk_token").string();
  bpe.fuse_unk = model.flag("fuse_unk", false);
  bpe.ignore_merges = model.flag("ignore_merges", false);
  read_vocab(model.member("vocab"), bpe);
  read_merges(model.member("merges"), bpe);
}

AddedToken read_added_token(const Field& field) {
  field.object({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token{field.member("content").string(),      field.member("id").id(),
                   field.member("single_word").boolean(), field.member("lstrip").boolean(),
                   field.member("rstrip").boolean(),      field.member("normalized").boolean(),
                   field.member("special").boolean()};
  if (token.content.empty()) fail(ErrorCode::corrupt_data, field.path, ".content is empty");
  return token;
}

// The tokenizers library numbers added tokens itself and only warns where the file says otherwise; here it is
// an error, since no reading of such a file can be the right one.
void read_added_tokens(const Field& list, TokenizerSpec& spec) {
  list.array();
  std::unordered_map<std::string_view, std::int32_t> vocab(spec.bpe.vocab.begin(), spec.bpe.vocab.end());
  std::unordered_set<std::int32_t> taken;
  for (const auto& token : spec.bpe.vocab) taken.insert(token.second);
  std::unordered_set<std::string> contents;
  const auto vocab_size = static_cast<std::int64_t>(vocab.size());
  std::int64_t next_id = vocab_size;
  for (std::size_t i = 0; i < list.value.size(); ++i) {
    const Field field = list.element(i);
    AddedToken token = read_added_token(field);
    const auto known = vocab.find(token.content);
    const std::int64_t expected = known != vocab.end() ? known->second : next_id;
    if (!contents.insert(token.content).second) {
      fail(ErrorCode::corrupt_data, field.path, ": ", in_quotes(token.content), " is added twice");
    }
    if (token.id != expected || (known == vocab.end() && !taken.insert(token.id).second)) {
      fail(ErrorCode::corrupt_data, field.path, ": ", in_quotes(token.content), " has the id ", token.id,
           known != vocab.end() ? ", in model.vocab it has " : ", the next free one is ", expected);
    }
    next_id = std::max<std::int64_t>(next_id, std::int64_t{token.id} + 1);
    spec.added_tokens.push_back(std::move(token));
  }
}

}  // namespace

TokenizerSpec read_tokenizer_spec(const json& content, std::string_view origin) {
  const Field root{content, std::string(origin) + ":"};
  root.object({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
               "post_processor", "decoder", "model"});
  if (root.has("version") && root.member("version").string() != "1.0") {
    root.member("version").unsupported(in_quotes(root.member("version").string()) + " is not 1.0");
  }
  for (const char* key : {"truncation", "padding"}) {
    if (root.is_set(key)) root.member(key).unsupported("not supported");
  }
  TokenizerSpec spec{};
  read_normalizer(root, spec);
  read_pre_tokenizer(root, spec);
  read_post_processor(root, spec);
  read_decoder(root);
  if (!root.member("model").value.is_object()) root.member("model").wrong("an object");
  read_model(root.member("model"), spec.bpe);
  if (root.has("added_tokens")) read_added_tokens(root.member("added_tokens"), spec);
  return spec;
}

}  // namespace ophis::tokenizer
