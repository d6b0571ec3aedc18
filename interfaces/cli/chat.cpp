// ophis chat: a text that a user and a model write in turn, line by line. What was said is kept as the
// model's states, so that a turn costs what is new in it.
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <memory>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/generation_flags.hpp"
#include "interfaces/cli/interrupt.hpp"
#include "interfaces/cli/output.hpp"
#include "ophis/models/cache_file.hpp"

namespace ophis::cli {
namespace {

struct Options : GenerationFlags {
  std::vector<std::string> stop;
  std::string prompt, prefix, suffix = "\n", load;
  bool is_interactive = false;  ///< lines come from a terminal
};

constexpr const char* help =
    "A line is added to the text, and the model goes on from there; an empty line lets it go on.\n"
    "  /reset       start again\n"
    "  /save FILE   keep the model's memory of the text\n"
    "  /load FILE   go on from there\n"
    "  /help        this\n"
    "  /quit        end (so do the end of input and, at the prompt, Ctrl-C)\n"
    "  Ctrl-C       ends an answer\n"
    "  //...        a line that begins with a slash\n";

/// The text so far, and the states of the model that has read it.
class Conversation {
 public:
  Conversation(const LanguageModel& model, Tokenizer tokenizer, ExecContext& exec, const Options& options)
      : m_model(model),
        m_tokenizer(std::move(tokenizer)),
        m_exec(exec),
        m_options(options),
        m_cache(model.make_cache(1, options.state_dtype.value())) {
    say(options.prompt);
  }

  void reset() {
    m_cache.reset(m_exec);
    m_read.clear();
    m_unread.clear();
    m_overhang.clear();
    say(m_options.prompt);
  }

  /// One turn: the user's line, and what the model has to say, to stdout.
  void turn(const std::string& line) {
    if (!line.empty()) say(m_options.prefix + line + m_options.suffix);
    reply();
  }

  void save(const std::string& path) const {
    TokenIds tokens = m_read;
    tokens.insert(tokens.end(), m_unread.begin(), m_unread.end());
    save_cache(m_exec, path, m_model, m_cache, std::span(&tokens, 1));
  }

  void load(const std::string& path) {
    std::vector<TokenIds> texts = load_cache(m_exec, path, m_model, m_cache);
    m_read = texts.empty() ? TokenIds() : std::move(texts[0]);
    m_unread.clear();
    m_overhang.clear();
    if (std::ssize(m_read) <= m_cache.seqlen()) return;
    const auto end = m_read.begin() + static_cast<std::ptrdiff_t>(m_cache.seqlen());
    m_unread.assign(end, m_read.end());
    m_read.erase(end, m_read.end());
  }

 private:
  void say(std::string text) {
    // What the model said of this already, up to the end of a stop string, is not said again.
    if (text.starts_with(m_overhang)) text.erase(0, m_overhang.size());
    m_overhang.clear();
    const bool is_first = m_read.empty() && m_unread.empty();
    const TokenIds ids = m_tokenizer.encode(text, is_first);
    m_unread.insert(m_unread.end(), ids.begin(), ids.end());
  }

  void reply() {
    if (m_unread.empty()) {
      OPHIS_REQUIRE(m_cache.seqlen() == 0, "there is nothing to go on from; say something first");
      m_unread.push_back(static_cast<std::int32_t>(m_model.config().bos_token_id));
    }
    TextWriter writer;
    GenerationOptions generation = m_options.options(&m_tokenizer);
    generation.stop = m_options.stop;
    generation.cache = &m_cache;
    generation.history = {m_read};
    generation.on_text = [&](std::size_t, std::string_view text) {
      writer.write(text);
      return true;
    };
    std::optional<InterruptGuard> ctrl_c;
    if (m_options.is_interactive) {
      ctrl_c.emplace();
      generation.on_token = [&](std::size_t, std::int32_t) { return !ctrl_c->is_interrupted(); };
    }
    const GenerationResult result = generate(m_model, m_exec, std::span(&m_unread, 1), generation);
    // The states have read all but the last token.
    m_read.insert(m_read.end(), m_unread.begin(), m_unread.end());
    const TokenIds& ids = result.ids[0];
    m_read.insert(m_read.end(), ids.begin(), ids.end() - 1);
    m_unread = {ids.back()};
    const std::string beyond = m_tokenizer.decode(ids, true).substr(result.texts[0].size());
    m_overhang = result.finished[0] == FinishReason::stop ? beyond : std::string();
    // What is remembered is shown, up to the token at which the user stopped it.
    if (result.finished[0] == FinishReason::cancelled) writer.write(beyond);
    writer.finish();
  }

  const LanguageModel& m_model;
  Tokenizer m_tokenizer;
  ExecContext& m_exec;
  const Options& m_options;
  ModelCache m_cache;
  TokenIds m_read;         // by the model, into its states
  TokenIds m_unread;       // said, but not read yet
  std::string m_overhang;  // what the model said beyond its text: a stop string, perhaps more
};

/// The file that a command names.
std::string argument_of(const std::string& line, std::size_t command_length) {
  const std::size_t begin = line.find_first_not_of(" \t", command_length);
  OPHIS_REQUIRE(begin != std::string::npos, line, ": name a file");
  return line.substr(begin, line.find_last_not_of(" \t") - begin + 1);
}

/// Does what a line says; returns whether there may be another.
bool obey(Conversation& conversation, const std::string& line) {
  if (!line.starts_with('/')) {
    conversation.turn(line);
    return true;
  }
  const std::string command = line.substr(0, line.find_first_of(" \t"));
  if (line.starts_with("//")) {
    conversation.turn(line.substr(1));
  } else if (command == "/quit" || command == "/exit") {
    return false;
  } else if (command == "/reset") {
    conversation.reset();
  } else if (command == "/save") {
    conversation.save(argument_of(line, command.size()));
  } else if (command == "/load") {
    conversation.load(argument_of(line, command.size()));
  } else if (command == "/help") {
    print(help);
  } else {
    fail(ErrorCode::invalid_argument, "there is no command ", command, "; /help lists them");
  }
  return true;
}

int run(Options& options) {
  options.is_interactive = isatty(STDIN_FILENO) == 1;
  const Tokenizer tokenizer = options.tokenizer.load(options.model);
  ExecContext exec = options.compute.make_context();
  const LanguageModel model = options.model.load(options.dtype.value(), exec.device());
  Conversation conversation(model, tokenizer, exec, options);
  if (!options.load.empty()) conversation.load(options.load);
  if (options.is_interactive) print("/help lists the commands\n");
  std::string line;
  for (bool goes_on = true; goes_on;) {
    if (options.is_interactive) print("> ");
    if (!std::getline(std::cin, line)) break;
    if (line.ends_with('\r')) line.pop_back();
    try {
      goes_on = obey(conversation, line);
    } catch (const Error& error) {
      if (!options.is_interactive) throw;
      print_error(to_string(error.code()), error.what(), false);
    }
  }
  if (options.is_interactive && std::cin.eof()) print("\n");
  return exit_ok;
}

}  // namespace

Command add_chat(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command =
      program.add_subcommand("chat", "Write a text in turn with a model, which remembers it");
  command->add_option("--prompt", options->prompt, "The beginning of the text, before the first line");
  command->add_option("--prefix", options->prefix, "Goes before each line of the user's");
  command->add_option("--suffix", options->suffix, "Goes behind each line (default: a line break)");
  command->add_option("--load", options->load, "Go on from a file that /save has written");
  options->add_to(*command, "--model", 1);
  add_stop_option(*command, options->stop);
  command->footer(std::string(help) +
                  "Lines may also come through a pipe; then the first error ends the program.\n\n"
                  "Examples:\n"
                  "  ophis chat --temperature 0.8 --max-new-tokens 60\n"
                  "  ophis chat --model models/chat --prefix \"User: \" --suffix $'\\nBot:' --stop User:");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
