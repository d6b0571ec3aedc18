// ophis tokenize and ophis detokenize: text to token ids and back.
#include <fmt/format.h>

#include <memory>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/options.hpp"
#include "interfaces/cli/output.hpp"

namespace ophis::cli {
namespace {

struct Options {
  ModelOption model;
  TokenizerOption tokenizer;
  std::string text, file = "-";
  bool text_given = false;
  bool special = false;  ///< tokenize: leave them out; detokenize: skip them
  bool json = false;

  std::string input() const { return text_given ? text : read_text(file); }
};

int run_tokenize(const Options& options) {
  const Tokenizer tokenizer = options.tokenizer.load(options.model);
  const std::vector<std::int32_t> ids = tokenizer.encode(options.input(), !options.special);
  if (options.json) {
    print_json({{"ids", ids}, {"count", ids.size()}});
  } else {
    print(fmt::format("{}\n", fmt::join(ids, " ")));
  }
  return exit_ok;
}

int run_detokenize(const Options& options) {
  const Tokenizer tokenizer = options.tokenizer.load(options.model);
  const std::vector<std::int32_t> ids = parse_ids(options.input());
  const std::string text = tokenizer.decode(ids, options.special);
  if (options.json) {
    print_json({{"text", text}, {"count", ids.size()}});
  } else {
    print(text);
  }
  return exit_ok;
}

/// What both commands take; `what` names their input.
CLI::App* add_command(CLI::App& program, const std::shared_ptr<Options>& options, const char* name,
                      const char* description, const char* what) {
  CLI::App* const command = program.add_subcommand(name, description);
  CLI::Option* const text = command->add_option("input", options->text, fmt::format("The {}", what));
  text->each([options](const std::string&) { options->text_given = true; });
  command->add_option("--file", options->file, fmt::format("A file with the {}; - is stdin", what))
      ->excludes(text)
      ->capture_default_str();
  options->tokenizer.add_to(*command);
  options->model.add_to(*command);
  add_json_option(*command, options->json);
  return command;
}

}  // namespace

Command add_tokenize(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command =
      add_command(program, options, "tokenize", "Turn text into token ids", "text, in UTF-8");
  command->add_flag("--no-special-tokens", options->special,
                    "Without the tokens that the tokenizer puts around a text, if it has any");
  command->footer(
      "Writes the ids on one line. JSON: ids, count.\n\n"
      "Examples:\n"
      "  ophis tokenize \"To be, or not to be\"\n"
      "  ophis tokenize --tokenizer tokenizer.json --file play.txt --json\n"
      "  ophis tokenize < play.txt | ophis detokenize");
  return {command, [options] { return run_tokenize(*options); }};
}

Command add_detokenize(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command = add_command(program, options, "detokenize", "Turn token ids into text",
                                        "ids, separated by spaces, line breaks or commas");
  command->add_flag("--skip-special", options->special, "Leave special tokens out of the text");
  command->footer(
      "Writes the text as it is, without a line break after it. JSON: text, count.\n\n"
      "Examples:\n"
      "  ophis detokenize \"1833 26 199\"\n"
      "  ophis detokenize --tokenizer tokenizer.json --file ids.txt");
  return {command, [options] { return run_detokenize(*options); }};
}

}  // namespace ophis::cli
