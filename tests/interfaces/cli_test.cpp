// The program `ophis`, as a user meets it: output, files, exit codes.
#include <doctest/doctest.h>
#include <sched.h>

#include <cmath>

#include "ophis/models/checkpoint.hpp"
#include "ophis/models/safetensors_writer.hpp"
#include "ophis/ops/parity.hpp"
#include "tests/support/pseudo_terminal.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/test_data.hpp"

using namespace ophis;
using nlohmann::json;
using test::ProgramResult;
using test::run_ophis;

namespace {

using Words = std::vector<std::string>;

/// The error is told on stderr, and by --json also on stdout.
void check_fails(Words arguments, int exit_code, const std::string& code, const std::string& part) {
  const ProgramResult plain = run_ophis(arguments);
  INFO(plain.err);
  CHECK(plain.exit_code == exit_code);
  CHECK(plain.err.rfind("ophis: ", 0) == 0);
  CHECK(plain.err.find(part) != std::string::npos);
  CHECK(plain.out.empty());

  arguments.push_back("--json");
  const ProgramResult with_json = run_ophis(arguments);
  CHECK(with_json.exit_code == exit_code);
  const json error = with_json.json().at("error");
  CHECK(error.at("code") == code);
  CHECK(error.at("message").get<std::string>().find(part) != std::string::npos);
}

std::string joined(const std::vector<std::int64_t>& ids) {
  std::string text;
  for (const std::int64_t id : ids) text.append(text.empty() ? "" : ",").append(std::to_string(id));
  return text;
}

/// The sum of -log(probability) of ids[1...] by logits (1, seqlen, vocab).
double summed_loss(const Tensor& logits, const std::vector<std::int64_t>& ids) {
  double sum = 0.0;
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
    const float* const row = logits.data<float>() + static_cast<std::int64_t>(i) * logits.extent(2);
    double total = 0.0;
    for (std::int64_t v = 0; v < logits.extent(2); ++v) total += std::exp(static_cast<double>(row[v]));
    sum += std::log(total) - static_cast<double>(row[ids[i + 1]]);
  }
  return sum;
}

double loss_of_validation_text(const std::string& model) {
  const std::string text = test::find_test_data("text/validation.txt")->string();
  return run_ophis({"perplexity", "--model", model, "--text", text, "--json"}).json().at("loss");
}

}  // namespace

TEST_CASE("cli: help and version") {
  CHECK(run_ophis({"--version"}).out.rfind("ophis ", 0) == 0);
  const ProgramResult help = run_ophis({"--help"});
  CHECK(help.exit_code == 0);
  CHECK(help.err.empty());
  for (const char* const command :
       {"generate", "chat", "logits", "tokenize", "detokenize", "perplexity", "info", "check"}) {
    CHECK(help.out.find(command) != std::string::npos);
    const ProgramResult own = run_ophis({command, "--help"});
    CHECK(own.exit_code == 0);
    CHECK(own.out.find("Example") != std::string::npos);
    CHECK((own.out.find("--json") != std::string::npos || command == std::string("chat")));
  }
}

TEST_CASE("cli: a wrong command line") {
  check_fails({}, 2, "usage", "subcommand");
  check_fails({"sing"}, 2, "usage", "subcommand");
  check_fails({"generate"}, 2, "usage", "--prompt");
  check_fails({"generate", "--prompt", "a", "--prompt-file", "b"}, 2, "usage", "--prompt-file");
  check_fails({"generate", "--prompt", "a", "--loud"}, 2, "usage", "--loud");
  check_fails({"generate", "--prompt", "a", "--max-new-tokens", "-1"}, 2, "usage", "--max-new-tokens");
  check_fails({"generate", "--prompt", "a", "--max-new-tokens", "many"}, 2, "usage", "--max-new-tokens");
  check_fails({"generate", "--prompt", "a", "--dtype", "int64"}, 2, "usage", "float32, bfloat16 or float16");
  check_fails({"generate", "--prompt", "a", "--dtype", "float5"}, 2, "usage", "float5");
  check_fails({"generate", "--prompt", "a", "--device", "abacus"}, 2, "usage", "abacus");
  check_fails({"generate", "--prompt", "a", "--threads", "0"}, 2, "usage", "--threads");
  for (const auto& [option, value, wanted] : {std::tuple{"--temperature", "-1", "from 0"},
                                              {"--temperature", "warm", "from 0"},
                                              {"--topk", "-1", "from 0"},
                                              {"--topp", "0", "above 0 and at most 1"},
                                              {"--topp", "1.5", "above 0 and at most 1"},
                                              {"--minp", "nan", "from 0 (all) to 1"},
                                              {"--repetition-penalty", "0", "above 0"},
                                              {"--presence-penalty", "inf", "a number"},
                                              {"--seed", "-1", "from 0"},
                                              {"--batch", "0", "1 to"},
                                              {"--stop", "", "empty"}}) {
    check_fails({"generate", "--prompt", "a", option, value}, 2, "usage", wanted);
  }
  check_fails({"generate", "--prompt", "a", "--topk", "1.5"}, 2, "usage", "--topk");
  check_fails({"logits", "--ids", "1,two", "--out", "x"}, 2, "usage", "'two' is not a token id");
  check_fails({"logits", "--ids", "", "--out", "x"}, 2, "usage", "no id");
  check_fails({"logits", "--ids", "1"}, 2, "usage", "--out");
  check_fails({"perplexity", "--text", "x", "--window", "1"}, 2, "usage", "--window");
  check_fails({"check", "--op", "juggle"}, 2, "usage", "juggle");
  check_fails({"tokenize", "text", "--file", "f"}, 2, "usage", "excludes");
}

TEST_CASE("cli: a command that fails") {
  check_fails({"generate", "--prompt", "a", "--device", "cuda"}, 1, "unsupported", "cuda");
  check_fails({"generate", "--prompt", "a", "--model", "no/such/model"}, 1, "not_found", "no/such/model");
  check_fails({"generate", "--prompt-file", "no-such-prompt"}, 1, "not_found", "no-such-prompt");
  check_fails({"generate", "--prompt-file", "/"}, 1, "io", "folder");
  check_fails({"generate", "--prompt", "\xff"}, 1, "invalid_argument", "UTF-8");
  check_fails({"perplexity", "--text", "no-such-text"}, 1, "not_found", "no-such-text");
  check_fails({"info", "--model", "/"}, 1, "not_found", "config.json");
  check_fails({"tokenize", "a", "--tokenizer", "no-such-file"}, 1, "not_found", "no-such-file");
  check_fails({"detokenize", "1 -2"}, 1, "invalid_argument", "'-2' is not a token id");
  const test::TemporaryFolder folder;
  const std::string text = folder.write("one-token.txt", "a").string();
  check_fails({"perplexity", "--text", text}, 1, "invalid_argument", "at least 2");
}

TEST_CASE("cli: output that cannot be written") {
  if (!std::filesystem::exists("/dev/full")) return;
  for (const Words& arguments : {Words{"tokenize", "a"}, Words{"generate", "--prompt", "a", "--json"}}) {
    std::string command = test::shell_quoted(OPHIS_PROGRAM);
    for (const std::string& argument : arguments) command.append(" ").append(test::shell_quoted(argument));
    const int status = std::system((command + " >/dev/full 2>/dev/null").c_str());
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 1);
  }
}

TEST_CASE("cli: generate continues a text greedily") {
  // The beginnings of the goldens of these models.
  const std::vector<int> mamba{1833, 26, 199, 198, 41,  475, 716, 289, 458, 12,  291, 842,
                               289,  14, 199, 199, 198, 59,  734, 61,  199, 199, 198, 59};
  const std::vector<int> mamba2{1833, 26,   199, 198, 334, 12,  331, 268, 702, 12,  268,  585,
                                325,  2340, 357, 12,  199, 198, 41,  475, 692, 422, 2592, 331};
  for (const auto& [model, ids] : {std::pair{"mamba-tiny", mamba}, {"mamba2-tiny", mamba2}}) {
    const ProgramResult result = run_ophis({"generate", "--model", model, "--prompt", "ROMEO:\n\t",
                                            "--max-new-tokens", "20", "--threads", "2", "--json"});
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    const json output = result.json();
    CHECK(output.at("prompt_ids") == json{1833, 26, 199, 198});
    CHECK(output.at("ids") == json(ids));
    CHECK(output.at("dtype") == "float32");
    CHECK(output.at("device") == "cpu");
    CHECK(output.at("threads") == 2);
    CHECK(output.at("stopped_by") == "length");
    for (const char* const name : {"load_seconds", "prefill_seconds", "decode_seconds",
                                   "prefill_tokens_per_second", "decode_tokens_per_second"}) {
      CHECK(output.at("timings").at(name).get<double>() > 0.0);
    }
    CHECK(output.at("timings").at("decode_tokens") == 19);

    const ProgramResult text = run_ophis(
        {"generate", "--model", model, "--prompt-file", "-", "--max-new-tokens", "20"}, "ROMEO:\n\t");
    CHECK(text.exit_code == 0);
    CHECK(text.out == output.at("text").get<std::string>() + "\n");
    CHECK(text.err.find("tokens/s") != std::string::npos);
  }
}

TEST_CASE("cli: generate samples, the same by the same seed") {
  const Words base{"generate", "--prompt", "ROMEO:", "--genlen", "16", "--json"};
  const auto ids = [&](const Words& more) {
    Words words = base;
    words.insert(words.end(), more.begin(), more.end());
    const ProgramResult result = run_ophis(words);
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    return result.json().at("ids");
  };
  const json greedy = ids({}), sampled = ids({"--topp", "0.9", "--temperature", "0.7"});
  CHECK(sampled != greedy);
  CHECK(ids({"--top-p", "0.9", "--temperature", "0.7", "--seed", "0"}) == sampled);
  CHECK(ids({"--topp", "0.9", "--temperature", "0.7", "--seed", "1"}) != sampled);
  CHECK(ids({"--topp", "0.9", "--temperature", "0.7", "--threads", "1"}) == sampled);
  CHECK(ids({"--topk", "1"}) == greedy);
  // A filter without --temperature means 1.
  CHECK(ids({"--minp", "0.1"}) == ids({"--min-p", "0.1", "--temperature", "1"}));
  CHECK(ids({"--minp", "0.1"}) != greedy);
  CHECK(ids({"--repetition-penalty", "5"}) != greedy);
  CHECK(ids({"--presence-penalty", "5"}) != greedy);
  CHECK(ids({"--frequency-penalty", "5"}) != greedy);
}

TEST_CASE("cli: generate continues several texts, and stops") {
  const Words words{"generate", "--prompt", "ROMEO:", "--prompt", "To be",  "--batch", "2",
                    "--genlen", "9",        "--topk", "20",       "--seed", "3"};
  Words with_json = words;
  with_json.insert(with_json.end(), {"--json", "--logprobs", "--top-logprobs", "2"});
  const json output = run_ophis(with_json).json();
  const json& sequences = output.at("sequences");
  REQUIRE(sequences.size() == 4);
  CHECK(output.at("ids") == sequences[0].at("ids"));
  CHECK(sequences[1].at("text").get<std::string>().rfind("ROMEO:", 0) == 0);
  CHECK(sequences[2].at("text").get<std::string>().rfind("To be", 0) == 0);
  CHECK(sequences[0].at("ids") != sequences[1].at("ids"));
  CHECK(sequences[3].at("logprobs").size() == 9);
  CHECK(sequences[3].at("top_logprobs").size() == 9);
  const json& place = sequences[3].at("top_logprobs")[8];
  REQUIRE(place.size() == 2);
  CHECK(place[0].at("logprob").get<double>() >= place[1].at("logprob").get<double>());
  CHECK(place[0].at("id") != place[1].at("id"));
  CHECK(output.at("timings").at("decode_tokens") == 32);
  std::string texts;
  for (std::size_t i = 0; i < 4; ++i) {
    texts += "--- " + std::to_string(i + 1) + "\n" + sequences[i].at("text").get<std::string>();
    if (texts.back() != '\n') texts += '\n';
  }
  CHECK(run_ophis(words).out == texts);

  const std::string whole = run_ophis({"generate", "--prompt", "ROMEO:", "--genlen", "20"}).out;
  const std::string stop = whole.substr(whole.size() / 2, 3);
  const Words stopping{"generate", "--prompt", "ROMEO:", "--genlen", "20", "--stop", "never", "--stop", stop};
  CHECK(run_ophis(stopping).out.rfind(whole.substr(0, whole.find(stop, 6)), 0) == 0);
  Words stopping_json = stopping;
  stopping_json.push_back("--json");
  const json stopped = run_ophis(stopping_json).json();
  CHECK(stopped.at("stopped_by") == "stop");
  CHECK(stopped.at("text") == whole.substr(0, whole.find(stop, 6)));
}

TEST_CASE("cli: bench generation prints what mamba_ssm's script prints") {
  const ProgramResult random = run_ophis(
      {"bench", "generation", "--promptlen", "7", "--genlen", "5", "--batch", "2", "--repeats", "1"});
  CHECK(random.exit_code == 0);
  const std::string start =
      "Loading model mamba2-tiny\nNumber of parameters: 4505024\nPrompt length: 7, generation length: 5\n"
      "mamba2-tiny prompt processing + decoding time: ";
  CHECK(random.out.rfind(start, 0) == 0);
  CHECK(random.out.find("ms\n", start.size()) == random.out.size() - 3);
  const json prompted =
      run_ophis({"bench", "generation", "--model-name", "mamba-tiny", "--prompt", "To be", "--genlen", "6",
                 "--topk", "5", "--batch", "3", "--repeats", "1", "--json"})
          .json();
  CHECK(prompted.at("model") == "mamba-tiny");
  CHECK(prompted.at("prompt_length") == 2);
  CHECK(prompted.at("milliseconds").get<double>() > 0.0);
  REQUIRE(prompted.at("texts").size() == 3);
  CHECK(prompted.at("texts")[0].get<std::string>().rfind("To be", 0) == 0);
}

TEST_CASE("cli: chat keeps the text as states, through a pipe") {
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "my states").string();
  const auto chat = [](const std::string& lines, Words more = {}) {
    Words words{"chat", "--genlen", "8", "--suffix", "\n"};
    words.insert(words.end(), more.begin(), more.end());
    return run_ophis(words, lines);
  };
  const auto generated = [](const std::string& prompt, const char* length) {
    return run_ophis({"generate", "--prompt", prompt, "--genlen", length}).out.substr(prompt.size());
  };
  // An empty line lets the model go on; sixteen tokens in two turns are the same as in one.
  const ProgramResult twice = chat("ROMEO:\n\n");
  INFO(twice.err);
  CHECK(twice.exit_code == 0);
  const auto without_breaks = [](std::string text) {
    std::erase(text, '\n');
    return text;
  };
  CHECK(without_breaks(twice.out) == without_breaks(generated("ROMEO:\n", "16")));
  // What was said is remembered, and forgotten.
  const std::string once = chat("ROMEO:\n").out;
  CHECK(chat("ROMEO:\n/reset\nROMEO:\n").out == once + once);
  CHECK(chat("ROMEO:\nROMEO:\n").out != once + once);
  CHECK(chat("ROMEO:\r\n").out == once);
  CHECK(chat("MEO:\n", {"--prompt", "RO"}).exit_code == 0);
  CHECK(chat("", {"--prompt", "ROMEO:\n"}).out.empty());
  CHECK(chat("\n", {"--prompt", "ROMEO:\n"}).out == once);
  CHECK(chat("\n/reset\n\n/quit\n\n", {"--prompt", "ROMEO:\n"}).out == once + once);
  // Through a file, in the same run and in another, sampling with penalties all the while.
  const Words sampling{"--temperature", "0.9", "--repetition-penalty", "1.3", "--seed", "5"};
  const std::string straight = chat("HAMLET:\nAnd then?\n", sampling).out;
  const std::string first = chat("HAMLET:\n/save " + file + "\n", sampling).out;
  REQUIRE(straight.rfind(first, 0) == 0);
  const std::string second = straight.substr(first.size());
  CHECK(chat("Ghost:\n/load " + file + "\nAnd then?\n", sampling).out.ends_with("\n" + second));
  Words loading = sampling;
  loading.insert(loading.end(), {"--load", file});
  CHECK(chat("And then?\n", loading).out == second);
  CHECK(chat("//And then?\n", loading).out != second);
  // A stop string is left out, and not said again by a prefix.
  const std::string said = generated("ROMEO:\n", "8"), stop = said.substr(said.size() / 2, 2);
  CHECK(chat("ROMEO:\n", {"--stop", stop}).out.rfind(said.substr(0, said.find(stop)), 0) == 0);
}

TEST_CASE("cli: Ctrl-C ends an answer of chat, and at the prompt the program") {
  const std::string ctrl_c = "\x03";
  test::PseudoTerminal terminal({"chat", "--genlen", "1000000"});
  CHECK(terminal.read_until("> ").rfind("/help", 0) == 0);
  terminal.type("ROMEO:\n");
  terminal.read_until("ROMEO:\r\n");  // the echo
  terminal.read_until("\n");          // of an answer without an end
  terminal.type(ctrl_c);
  CHECK(terminal.read_until("\n> ").ends_with("\n> "));
  // The next answer goes on from there.
  terminal.type("/reset\n");
  terminal.read_until("> ");
  terminal.type("To be\n");
  terminal.read_until("To be\r\n");
  terminal.read_until("\n");
  terminal.type(ctrl_c);
  CHECK(terminal.read_until("\n> ").ends_with("\n> "));
  terminal.type(ctrl_c);
  CHECK(terminal.ending_signal() == SIGINT);
}

TEST_CASE("cli: chat refuses what it does not know, and ends there when it comes through a pipe") {
  const test::TemporaryFolder folder;
  const auto fails = [](const std::string& lines, const char* text) {
    const ProgramResult result = run_ophis({"chat", "--genlen", "2"}, lines + "\nMORE\n");
    CHECK(result.exit_code == 1);
    CHECK(result.out.empty());
    INFO(result.err);
    CHECK(result.err.find(text) != std::string::npos);
  };
  fails("/dance", "no command /dance");
  fails("/save", "name a file");
  fails("/load ", "name a file");
  fails("/load no-such-file", "no-such-file");
  fails("/save no-such-folder/file", "no-such-folder");
  fails("/load " + folder.write("bad", "no states").string(), "bad");
  fails("\xff", "UTF-8");
  const std::string file = (folder.path() / "states").string();
  CHECK(run_ophis({"chat", "--model", "mamba-tiny"}, "/save " + file + "\n").exit_code == 0);
  fails("/load " + file, "of another model");
  CHECK(run_ophis({"chat", "--genlen", "0"}).exit_code == 2);
}

TEST_CASE("cli: generate in 16 bits, of nothing, from nothing") {
  for (const char* const dtype : {"bfloat16", "float16"}) {
    const ProgramResult result =
        run_ophis({"generate", "--prompt", "To be", "--max-new-tokens", "4", "--dtype", dtype, "--json"});
    CHECK(result.json().at("dtype") == dtype);
    CHECK(result.json().at("ids").size() == result.json().at("prompt_ids").size() + 4);
  }
  const json nothing = run_ophis({"generate", "--prompt", "To be", "--max-new-tokens", "0", "--json"}).json();
  CHECK(nothing.at("ids") == nothing.at("prompt_ids"));
  const json from_bos = run_ophis({"generate", "--prompt", "", "--max-new-tokens", "1", "--json"}).json();
  CHECK(from_bos.at("prompt_ids") == json{0});
}

TEST_CASE("cli: the bundled models are found in the folder that OPHIS_MODELS names") {
  const test::TemporaryFolder folder;
  const std::string environment = "OPHIS_MODELS=" + test::shell_quoted(folder.path().string());
  std::filesystem::create_directory(folder.path() / "mamba2-tiny");
  const ProgramResult result = run_ophis({"generate", "--prompt", "a"}, "", environment);
  CHECK(result.exit_code == 1);
  CHECK(result.err.find(folder.path().string()) != std::string::npos);
}

TEST_CASE("cli: tokenize and detokenize are inverses, through pipes") {
  const std::string text = "  To be,\tor not — to be?\r\n\nÆþelred 🐍 \xcc\x81 end\n";
  const ProgramResult ids = run_ophis({"tokenize"}, text);
  REQUIRE(ids.exit_code == 0);
  const ProgramResult back = run_ophis({"detokenize"}, ids.out);
  CHECK(back.exit_code == 0);
  CHECK(back.out == text);
  const test::TemporaryFolder folder;
  const std::string file = folder.write("ids", ids.out).string();
  CHECK(run_ophis({"detokenize", "--file", file, "--json"}).json().at("text") == text);

  const std::string tokenizer = std::string(OPHIS_SOURCE_DIR) + "/examples/models/mamba-tiny/tokenizer.json";
  const json list = run_ophis({"tokenize", "--tokenizer", tokenizer, "ROMEO:\n\t", "--json"}).json();
  CHECK(list == json{{"ids", {1833, 26, 199, 198}}, {"count", 4}});
  CHECK(run_ophis({"tokenize", ""}).out == "\n");
  CHECK(run_ophis({"detokenize", "[1833, 26]"}).out == "ROMEO:");
}

TEST_CASE("cli: logits of ids and of a batch from a file") {
  const test::TemporaryFolder folder;
  const std::string one = (folder.path() / "one.safetensors").string();
  const std::string both = (folder.path() / "both.safetensors").string();
  const ProgramResult result =
      run_ophis({"logits", "--ids", "1833,26,199", "--out", one, "--hidden-states", "--json"});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  const json summary = result.json();
  CHECK(summary.at("tensors")[0] == json{{"name", "logits"}, {"dtype", "float32"}, {"shape", {1, 3, 4096}}});
  CHECK(summary.at("tensors").size() == 10);
  CHECK(summary.at("tensors")[9].at("name") == "hidden_states.8");
  CHECK(summary.at("next_ids") == json{198});
  CHECK(summary.at("next_logits").size() == 1);

  // Row 0 as before, row 1 the same behind one position of padding.
  std::vector<std::int32_t> ids{1833, 26, 199, 5, 0, 1833, 26, 199}, mask{1, 1, 1, 1, 0, 1, 1, 1};
  const std::vector<NamedTensor> input{{"input_ids", Tensor(ids.data(), DType::int32, {2, 4})},
                                       {"attention_mask", Tensor(mask.data(), DType::int32, {2, 4})}};
  const std::string batch = (folder.path() / "batch.safetensors").string();
  save_safetensors(batch, input);
  REQUIRE(run_ophis({"logits", "--input", batch, "--out", both}).exit_code == 0);
  const Checkpoint first = Checkpoint::open(one), second = Checkpoint::open(both);
  const Tensor want = first.tensor("logits"), got = second.tensor("logits");
  REQUIRE(got.shape() == Dims{2, 4, 4096});
  for (std::int64_t i = 0; i < want.count(); ++i) {
    CHECK(got.data<float>()[i] == doctest::Approx(want.data<float>()[i]).epsilon(1e-5));
    CHECK(got.data<float>()[5 * 4096 + i] == doctest::Approx(want.data<float>()[i]).epsilon(1e-4));
  }
  REQUIRE(run_ophis({"logits", "--ids", "1833,26,199", "--out", both, "--logits-to-keep", "1"}).exit_code ==
          0);
  CHECK(Checkpoint::open(both).tensor("logits").shape() == Dims{1, 1, 4096});
}

TEST_CASE("cli: logits leaves no file behind when it fails") {
  const test::TemporaryFolder folder;
  const std::string out = (folder.path() / "out.safetensors").string();
  check_fails({"logits", "--ids", "1,4096", "--out", out}, 1, "invalid_argument", "4096");
  check_fails({"logits", "--input", (folder.path() / "none.safetensors").string(), "--out", out}, 1,
              "not_found", "none.safetensors");
  const std::string broken = folder.write("broken.safetensors", "not a checkpoint").string();
  check_fails({"logits", "--input", broken, "--out", out}, 1, "corrupt_data", "broken.safetensors");
  std::filesystem::remove(broken);
  CHECK(std::filesystem::is_empty(folder.path()));
  check_fails({"logits", "--ids", "1", "--out", (folder.path() / "none" / "out").string()}, 1, "not_found",
              "none");
}

TEST_CASE("cli: perplexity is the mean loss over windows") {
  const test::TemporaryFolder folder;
  const std::string words = "HAMLET\tTo be, or not to be, that is the question";
  const std::string text = folder.write("text.txt", words).string();
  const auto ids = run_ophis({"tokenize", words, "--json"}).json().at("ids").get<std::vector<std::int64_t>>();
  const std::size_t window = 5;
  REQUIRE(ids.size() > 2 * window);
  REQUIRE(ids.size() % window >= 2);  // so that there is a shorter window at the end

  double sum = 0.0;
  int predictions = 0;
  for (std::size_t begin = 0; begin < ids.size(); begin += window) {
    const std::vector<std::int64_t> piece(
        ids.begin() + static_cast<std::ptrdiff_t>(begin),
        ids.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), begin + window)));
    const std::string file = (folder.path() / "logits.safetensors").string();
    REQUIRE(run_ophis({"logits", "--ids", joined(piece), "--out", file}).exit_code == 0);
    sum += summed_loss(Checkpoint::open(file).tensor("logits"), piece);
    predictions += static_cast<int>(piece.size()) - 1;
  }
  const json output =
      run_ophis({"perplexity", "--text", text, "--window", std::to_string(window), "--json"}).json();
  CHECK(output.at("tokens") == ids.size());
  CHECK(output.at("predictions") == predictions);
  CHECK(output.at("loss").get<double>() == doctest::Approx(sum / predictions).epsilon(1e-5));
  CHECK(output.at("perplexity").get<double>() == doctest::Approx(std::exp(sum / predictions)).epsilon(1e-5));
}

TEST_CASE("cli: perplexity of the held-out text") {
  if (!test::find_test_data("text/validation.txt")) {
    MESSAGE("skipped: text/validation.txt is not in OPHIS_TEST_DATA");
    return;
  }
  CHECK(std::fabs(loss_of_validation_text("mamba-tiny") - 3.722117) <= 0.0005);
  CHECK(std::fabs(loss_of_validation_text("mamba2-tiny") - 3.766954) <= 0.0005);
}

TEST_CASE("cli: quantize writes a model that the commands take") {
  const test::TemporaryFolder folder;
  const std::string out = (folder.path() / "out").string(),
                    text = folder.write("text", "To be, or not to be.").string();
  const Words command{"quantize", "--model", "mamba2-tiny", "--out", out, "--quantize-tables", "int8"};
  Words calibrated = command;
  calibrated.insert(calibrated.end(), {"--calibration", text, "--json"});
  const ProgramResult result = run_ophis(calibrated);
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  CHECK(result.json().at("bytes_after").get<double>() < 0.4 * result.json().at("bytes_before").get<double>());
  CHECK(run_ophis({"generate", "--model", out, "--prompt", "a", "--max-new-tokens", "5"}).exit_code == 0);
  const auto loss = [&](Words more) {
    Words words{"perplexity", "--text", text, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return run_ophis(words).json().at("loss").get<double>();
  };
  const double exact = loss({"--model", "mamba2-tiny"});
  CHECK(loss({"--model", out}) == doctest::Approx(exact).epsilon(0.02));
  CHECK(loss({"--model", "mamba2-tiny", "--quantize", "int8"}) == doctest::Approx(exact).epsilon(0.002));
  check_fails(command, 1, "invalid_argument", "exists already");
  check_fails({"quantize", "--out", out + "2", "--format", "int3"}, 2, "usage", "--format");
  check_fails({"quantize", "--out", out + "2", "--group-size", "100"}, 1, "invalid_argument",
              "the group size is 100, but must be a multiple of 8");
  check_fails({"perplexity", "--model", out, "--quantize", "int4", "--text", text}, 1, "invalid_argument",
              "is quantized already");
  CHECK(!std::filesystem::exists(out + "2"));
}

TEST_CASE("cli: quantized weights lose little on the held-out text") {
  if (!test::find_test_data("text/validation.txt")) {
    MESSAGE("skipped: text/validation.txt is not in OPHIS_TEST_DATA");
    return;
  }
  const std::string text = test::find_test_data("text/validation.txt")->string();
  for (const char* const model : {"mamba-tiny", "mamba2-tiny"}) {
    const auto loss = [&](Words more) {
      Words words{"perplexity", "--model", model, "--text", text, "--dtype", "bfloat16", "--json"};
      words.insert(words.end(), more.begin(), more.end());
      return run_ophis(words).json().at("loss").get<double>();
    };
    const double exact = loss({});
    CHECK(std::fabs(loss({"--quantize", "int8", "--quantize-tables", "int8"}) - exact) <= 0.002);
    CHECK(std::fabs(loss({"--quantize", "int4", "--quantize-tables", "int4"}) - exact) <= 0.05);
  }
}

TEST_CASE("cli: info") {
  const ProgramResult result = run_ophis({"info", "--model", "mamba-tiny", "--tensors", "--json"});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  const json info = result.json();
  CHECK(info.at("config").at("model_type") == "mamba");
  CHECK(info.at("config").at("d_inner") == 512);
  std::int64_t elements = 0;
  for (const json& tensor : info.at("tensors")) {
    std::int64_t count = 1;
    for (const json& extent : tensor.at("shape")) count *= extent.get<std::int64_t>();
    elements += count;
  }
  CHECK(info.at("parameters") == elements);
  CHECK(info.at("memory").at("weight_bytes") == 4 * elements);
  // 8 layers of 512 channels: 3 inputs of the convolution and 16 states, 4 bytes each.
  CHECK(info.at("memory").at("state_bytes_per_sequence") == 8 * 512 * (3 + 16) * 4);
  CHECK(info.at("checkpoint").at("tensors") == info.at("tensors").size());
  const ProgramResult text = run_ophis({"info", "--tensors"});
  CHECK(text.exit_code == 0);
  CHECK(text.out.find("backbone.layers.7.mixer.in_proj.weight") != std::string::npos);
}

TEST_CASE("cli: the number of threads is that of --threads, OMP_NUM_THREADS or the affinity mask") {
  const auto threads = [](const std::string& environment, Words more = {}) {
    Words arguments{"info", "--model", "mamba-tiny", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_ophis(arguments, {}, environment).json().at("machine").at("threads").get<int>();
  };
  CHECK(threads("OMP_NUM_THREADS=1") == 1);
  CHECK(threads("OMP_NUM_THREADS=3") == 3);
  CHECK(threads("OMP_NUM_THREADS=3", {"--threads", "2"}) == 2);
  cpu_set_t mask;
  REQUIRE(sched_getaffinity(0, sizeof(mask), &mask) == 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &mask)) ++cpu;
  CHECK(threads("env -u OMP_NUM_THREADS taskset -c " + std::to_string(cpu)) == 1);
}

TEST_CASE("cli: check prints a row for each implementation and dtype") {
  const json all = run_ophis({"check", "--op", "argmax", "--op", "mask_positions", "--json"}).json();
  CHECK(all.at("passed") == true);
  std::size_t rows = 0;
  for (const json& row : all.at("results")) {
    CHECK(row.at("failed") == 0);
    CHECK(row.at("problems").get<int>() > 0);
    rows += row.at("implementation") == "kokkos";
  }
  CHECK(rows == 6);
  const ProgramResult table = run_ophis({"check", "--op", "argmax"});
  CHECK(table.exit_code == 0);
  CHECK(table.out.find("argmax                   kokkos         bfloat16") != std::string::npos);
}
