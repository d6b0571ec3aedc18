#include "ophis/models/tokenizer.hpp"

#include "interfaces/c/src/handles.hpp"
#include "interfaces/c/src/members.hpp"
#include "interfaces/c/src/memory.hpp"
#include "ophis/hub/resolve_model.hpp"

using namespace ophis::c;

struct ophis_stream_decoder {
  ophis::StreamDecoder decoder;
};

namespace {

bool flag(const char* name, std::int32_t value) {
  bool result = false;
  convert_named(name, value, result);
  return result;
}

const ophis::Tokenizer& tokenizer_of(const ophis_tokenizer* tokenizer) {
  return require(tokenizer, "tokenizer").tokenizer;
}

/// `count` values, which may be none at all.
template <class T, class Count>
std::span<const T> values_of(const char* name, const T* values, Count count) {
  OPHIS_REQUIRE(count >= 0, "num_", name, " is ", count, ", but must not be negative");
  if (count > 0) require(values, name);
  return {values, static_cast<std::size_t>(count)};
}

}  // namespace

ophis_status ophis_tokenizer_load(const char* name, ophis_tokenizer** tokenizer) {
  return guarded(__func__, [&] {
    ophis_tokenizer*& result = require(tokenizer, "tokenizer");
    const auto path = ophis::resolve_model(&require(name, "name"), {.files = ophis::ModelFiles::tokenizer});
    result = new ophis_tokenizer{ophis::Tokenizer::from_file(path)};
  });
}

void ophis_tokenizer_destroy(ophis_tokenizer* tokenizer) { delete tokenizer; }

ophis_status ophis_tokenizer_encode(const ophis_tokenizer* tokenizer, const char* text, size_t text_bytes,
                                    int32_t add_special_tokens, int32_t** ids, int64_t* num_ids) {
  return guarded(__func__, [&] {
    int32_t*& result = require(ids, "ids");
    int64_t& count = require(num_ids, "num_ids");
    if (text_bytes > 0) require(text, "text");
    const std::vector<std::int32_t> encoded = tokenizer_of(tokenizer).encode(
        std::string_view(text, text_bytes), flag("add_special_tokens", add_special_tokens));
    result = hand_over(std::span<const std::int32_t>(encoded));
    count = static_cast<int64_t>(encoded.size());
  });
}

ophis_status ophis_tokenizer_decode(const ophis_tokenizer* tokenizer, const int32_t* ids, int64_t num_ids,
                                    int32_t skip_special, char** text, size_t* text_bytes) {
  return guarded(__func__, [&] {
    char*& result = require(text, "text");
    const std::string decoded =
        tokenizer_of(tokenizer).decode(values_of("ids", ids, num_ids), flag("skip_special", skip_special));
    result = hand_over_text(decoded);
    if (text_bytes) *text_bytes = decoded.size();
  });
}

ophis_status ophis_tokenizer_vocab_size(const ophis_tokenizer* tokenizer, int64_t* vocab_size) {
  return guarded(__func__, [&] {
    require(vocab_size, "vocab_size") = static_cast<int64_t>(tokenizer_of(tokenizer).vocab_size());
  });
}

ophis_status ophis_tokenizer_token_to_id(const ophis_tokenizer* tokenizer, const char* token, int32_t* id) {
  return guarded(__func__, [&] {
    int32_t& result = require(id, "id");
    const std::optional<std::int32_t> found = tokenizer_of(tokenizer).token_to_id(&require(token, "token"));
    if (!found) fail(ophis::ErrorCode::not_found, "there is no token '", token, "'");
    result = *found;
  });
}

ophis_status ophis_tokenizer_id_to_token(const ophis_tokenizer* tokenizer, int32_t id, char** token) {
  return guarded(__func__, [&] {
    char*& result = require(token, "token");
    const std::optional<std::string> found = tokenizer_of(tokenizer).id_to_token(id);
    if (!found) fail(ophis::ErrorCode::not_found, "there is no token of id ", id);
    result = hand_over_text(*found);
  });
}

ophis_status ophis_stream_decoder_create(const ophis_tokenizer* tokenizer, int32_t skip_special,
                                         ophis_stream_decoder** decoder) {
  return guarded(__func__, [&] {
    ophis_stream_decoder*& result = require(decoder, "decoder");
    result = new ophis_stream_decoder{
        ophis::StreamDecoder(tokenizer_of(tokenizer), flag("skip_special", skip_special))};
  });
}

void ophis_stream_decoder_destroy(ophis_stream_decoder* decoder) { delete decoder; }

ophis_status ophis_stream_decoder_push(ophis_stream_decoder* decoder, int32_t id, char** text) {
  return guarded(__func__, [&] {
    char*& result = require(text, "text");
    result = hand_over_text(require(decoder, "decoder").decoder.push(id));
  });
}

ophis_status ophis_stream_decoder_flush(ophis_stream_decoder* decoder, char** text) {
  return guarded(__func__, [&] {
    char*& result = require(text, "text");
    result = hand_over_text(require(decoder, "decoder").decoder.flush());
  });
}
