// Loads a model and continues a text: generate FOLDER [PROMPT]
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "ophis/models/generation.hpp"
#include "ophis/models/tokenizer.hpp"

int main(int argc, char** argv) try {
  const std::string folder = argc > 1 ? argv[1] : "examples/models/mamba2-tiny";
  const std::string prompt = argc > 2 ? argv[2] : "JULIET:";

  const auto model =
      ophis::LanguageModel::load(folder, {.dtype = ophis::DType::float32, .device = {}, .progress = {}});
  const auto tokenizer = ophis::Tokenizer::from_file(folder);
  ophis::StreamDecoder text(tokenizer);

  ophis::GenerationOptions options;
  options.max_new_tokens = 60;
  options.on_token = [&](std::size_t, std::int32_t id) {
    std::fputs(text.push(id).c_str(), stdout);
    return true;  // go on
  };
  ophis::ExecContext exec;
  const std::vector<ophis::TokenIds> prompts{tokenizer.encode(prompt)};
  std::fputs(prompt.c_str(), stdout);
  ophis::generate(model, exec, prompts, options);
  std::puts(text.flush().c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
