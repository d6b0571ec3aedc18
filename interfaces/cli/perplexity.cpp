// ophis perplexity: how well a model predicts a text.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "interfaces/cli/commands.hpp"
#include "interfaces/cli/options.hpp"
#include "interfaces/cli/output.hpp"

namespace ophis::cli {
namespace {

struct Options {
  ModelOption model;
  TokenizerOption tokenizer;
  DTypeOption dtype;
  ComputeOptions compute;
  std::string text;
  std::int64_t window = 256;
  bool json = false;
};

/// A sum of losses in nats over predicted tokens.
struct Loss {
  double sum = 0.0;
  std::int64_t predictions = 0;

  double mean() const { return sum / static_cast<double>(predictions); }
};

/// Adds the loss of `batch` windows of `window` ids that lie one after the other.
void add_windows(Loss& loss, const LanguageModel& model, ExecContext& exec, std::int64_t* ids,
                 std::int64_t batch, std::int64_t window) {
  ForwardInput input;
  input.input_ids = Tensor(ids, DType::int64, {batch, window});
  input.labels = input.input_ids;
  input.logits_to_keep = 1;
  const std::int64_t predictions = batch * (window - 1);
  loss.sum += model.forward(exec, input).loss.value() * static_cast<double>(predictions);
  loss.predictions += predictions;
}

/// The loss over all windows; the last one may be shorter. A window of one token predicts nothing.
Loss text_loss(const LanguageModel& model, ExecContext& exec, std::vector<std::int64_t> ids,
               std::int64_t window) {
  const auto total = static_cast<std::int64_t>(ids.size());
  window = std::min(window, total);
  const std::int64_t per_pass = std::max<std::int64_t>(1, LanguageModel::max_positions_per_pass / window);
  const std::int64_t whole = total / window;
  Loss loss;
  ProgressLine line;
  for (std::int64_t first = 0; first < whole; first += per_pass) {
    const std::int64_t batch = std::min(per_pass, whole - first);
    add_windows(loss, model, exec, ids.data() + first * window, batch, window);
    line.show("perplexity", static_cast<std::uint64_t>(first + batch), static_cast<std::uint64_t>(whole),
              fmt::format("loss {:.4f}", loss.mean()));
  }
  const std::int64_t rest = total - whole * window;
  if (rest >= 2) add_windows(loss, model, exec, ids.data() + whole * window, 1, rest);
  return loss;
}

int run(const Options& options) {
  const std::filesystem::path folder = options.model.folder();
  const std::vector<std::int32_t> tokens =
      options.tokenizer.load(options.model).encode(read_text(options.text));
  OPHIS_REQUIRE(tokens.size() >= 2, "perplexity: ", options.text, " has ", tokens.size(),
                " tokens, but at least 2 are needed");
  ExecContext exec = options.compute.make_context();
  const LanguageModel model = options.model.load(options.dtype.value(), exec.device());
  const Stopwatch watch;
  const Loss loss = text_loss(model, exec, {tokens.begin(), tokens.end()}, options.window);
  const double seconds = watch.seconds();
  const double tokens_per_second = static_cast<double>(tokens.size()) / seconds;
  if (options.json) {
    print_json({{"model", folder.string()},
                {"dtype", to_string(model.dtype())},
                {"text", options.text},
                {"window", options.window},
                {"tokens", tokens.size()},
                {"predictions", loss.predictions},
                {"loss", loss.mean()},
                {"perplexity", std::exp(loss.mean())},
                {"seconds", seconds},
                {"tokens_per_second", tokens_per_second}});
    return exit_ok;
  }
  print(
      fmt::format("loss {:.6f} nats a token, perplexity {:.4f} ({} tokens, {} predictions, windows of {})\n",
                  loss.mean(), std::exp(loss.mean()), tokens.size(), loss.predictions, options.window));
  fmt::print(stderr, "{:.3f} s ({:.1f} tokens/s)\n", seconds, tokens_per_second);
  return exit_ok;
}

}  // namespace

Command add_perplexity(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand("perplexity", "Measure how well a model predicts a text");
  options->model.add_to(*command);
  options->tokenizer.add_to(*command);
  command->add_option("--text", options->text, "A UTF-8 file; - is stdin")->required();
  command->add_option("--window", options->window, "Tokens that the model sees together, at least 2")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 40).description(""))
      ->capture_default_str();
  options->model.add_quantization_to(*command);
  options->dtype.add_to(*command);
  options->compute.add_to(*command);
  add_json_option(*command, options->json);
  command->footer(
      "The text is encoded whole and cut into windows, one behind the other; in each, every token but the\n"
      "first is predicted from those before it. The loss is the mean over all predictions of\n"
      "-log(probability), in nats; the perplexity is exp(loss). What is left at the end is a shorter window\n"
      "(a single token left predicts nothing and is dropped).\n"
      "JSON: model, dtype, text, window, tokens, predictions, loss, perplexity, seconds, "
      "tokens_per_second.\n\n"
      "Example:\n"
      "  ophis perplexity --model mamba-tiny --text validation.txt --window 256");
  return {command, [options] { return run(*options); }};
}

}  // namespace ophis::cli
