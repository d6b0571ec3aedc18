#include "ophis/models/tokenizer.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "interfaces/python/src/bindings.hpp"

namespace nb = nanobind;

namespace ophis::python {

void bind_tokenizer(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<Tokenizer>(
      module, "Tokenizer",
      "A byte-level BPE tokenizer, read from a Hugging Face tokenizer.json. It gives the ids and\n"
      "texts that the `tokenizers` library gives, and may be used by several threads at once.")
      .def_static(
          "from_file", [](const std::string& path) { return Tokenizer::from_file(path); }, "path"_a,
          nb::call_guard<nb::gil_scoped_release>(),
          "Reads a tokenizer.json, or the one in a folder, or that of a GGUF file.\n\n"
          "Raises NotFoundError, CorruptDataError or UnsupportedError, which name the file and the field.")
      .def_static(
          "from_json", [](const std::string& text) { return Tokenizer::from_json(text); }, "json"_a,
          "The same from the content of a tokenizer.json.")
      .def(
          "encode",
          [](const Tokenizer& self, const std::string& text, bool add_special_tokens) {
            return self.encode(text, add_special_tokens);
          },
          "text"_a, "add_special_tokens"_a = true, nb::call_guard<nb::gil_scoped_release>(),
          "The ids of a text. `add_special_tokens`: with the tokens that the file's post-processor puts "
          "around it.")
      .def(
          "decode",
          [](const Tokenizer& self, const std::vector<std::int32_t>& ids, bool skip_special_tokens) {
            return self.decode(ids, skip_special_tokens);
          },
          "ids"_a, "skip_special_tokens"_a = false, nb::call_guard<nb::gil_scoped_release>(),
          "The text of the ids. Bytes that form no character become U+FFFD; ids without a token give no "
          "text.")
      .def("token_to_id", &Tokenizer::token_to_id, "token"_a,
           "The id of a token as the file spells it, or None.")
      .def("id_to_token", &Tokenizer::id_to_token, "id"_a, "The spelling of a token in the file, or None.")
      .def("is_special", &Tokenizer::is_special, "id"_a,
           "Whether the id is an added token marked special, which decode can leave out.")
      .def("__len__", &Tokenizer::vocab_size)
      .def_prop_ro("vocab_size", &Tokenizer::vocab_size, "The number of tokens, with the added ones.");

  nb::class_<StreamDecoder>(
      module, "StreamDecoder",
      "Decodes ids one at a time. The pieces of push() and flush() together equal decode().")
      .def(nb::init<Tokenizer, bool>(), "tokenizer"_a, "skip_special_tokens"_a = false)
      .def("push", &StreamDecoder::push, "id"_a,
           "The text that is complete with this id; the bytes of an unfinished character are held back.")
      .def("flush", &StreamDecoder::flush, "The text still held back.");
}

}  // namespace ophis::python
