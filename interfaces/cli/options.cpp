#include "interfaces/cli/options.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include "interfaces/cli/output.hpp"

namespace ophis::cli {
namespace {

constexpr const char* default_model = "mamba2-tiny";

/// A check that makes what `parse` does not take a usage error. What is valid but unavailable is left to the
/// command, which fails in running.
template <class Parse>
CLI::Validator accepted_by(Parse parse, const std::string& description) {
  return CLI::Validator(
      [parse](std::string& text) -> std::string {
        try {
          parse(text);
        } catch (const Error& error) {
          if (error.code() == ErrorCode::invalid_argument) return error.what();
        }
        return {};
      },
      description);
}

/// Where the bundled models may be, best first.
std::vector<std::filesystem::path> bundled_folders() {
  std::vector<std::filesystem::path> folders;
  if (const char* const folder = std::getenv("OPHIS_MODELS")) folders.emplace_back(folder);
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) folders.push_back(program.parent_path().parent_path() / "share" / "ophis" / "models");
  folders.emplace_back(OPHIS_EXAMPLE_MODELS);
  return folders;
}

std::filesystem::path find_bundled(const std::string& name) {
  for (const std::filesystem::path& folder : bundled_folders()) {
    std::error_code error;
    if (std::filesystem::is_directory(folder / name, error)) return folder / name;
  }
  return {};
}

}  // namespace

void add_json_option(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Print one JSON document to stdout; errors too");
}

void add_threads_option(CLI::App& command, int& threads) {
  command
      .add_option("--threads", threads,
                  "CPU threads (default: OMP_NUM_THREADS, or one a core, within a container's limit)")
      ->check(CLI::Range(1, 4096).description(""));
}

void ComputeOptions::add_to(CLI::App& command) {
  command
      .add_option("--device", device,
                  "Where to compute: cpu; cuda, cuda:N, hip or hip:N where the program was built for it")
      ->check(accepted_by(parse_device, ""))
      ->capture_default_str();
  add_threads_option(command, threads);
}

ExecContext ComputeOptions::make_context() const {
  initialize({threads});
  return ExecContext(parse_device(device));
}

CLI::Validator compute_dtype_check() {
  return accepted_by(
      [](const std::string& text) {
        const DType dtype = parse_dtype(text);
        OPHIS_REQUIRE(is_compute_dtype(dtype), "models do not compute in ", dtype,
                      "; choose float32, bfloat16 or float16");
      },
      "");
}

void DTypeOption::add_to(CLI::App& command) {
  command
      .add_option("--dtype", name,
                  "Of weights and activations: float32, bfloat16 or float16; weights stored in another dtype "
                  "are converted")
      ->check(compute_dtype_check())
      ->capture_default_str();
}

void StateDTypeOption::add_to(CLI::App& command) {
  command
      .add_option("--state-dtype", name,
                  "Of the recurrent states that generation carries along: float32, or that of --dtype, which "
                  "moves less memory a step and rounds more")
      ->check(compute_dtype_check())
      ->capture_default_str();
}

void QuantizationOption::add_to(CLI::App& command, const char* name, const char* description) {
  const CLI::IsMember known({"int8", "int4"});
  CLI::Option* const option = command.add_option(name, format, fmt::format("{}: int8 or int4", description))
                                  ->check(known.description(""));
  if (!format.empty()) option->capture_default_str();
  command
      .add_option("--group-size", group_size,
                  "Inputs that share a scale, a multiple of 8 that divides them; 0: a whole row")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24).description(""))
      ->capture_default_str();
  command.add_flag("--asymmetric", asymmetric, "With a zero point for every group");
  command
      .add_option("--quantize-tables", tables,
                  "The head, and the embedding where it is the same: int8 or int4 (default: as they are)")
      ->check(known.description(""));
}

Quantization QuantizationOption::value() const {
  Quantization quantization;
  if (!format.empty()) quantization.projections = parse_weight_format(format, group_size, !asymmetric);
  if (!tables.empty()) quantization.tables = parse_weight_format(tables, group_size, !asymmetric);
  return quantization;
}

void ModelOption::add_quantization_to(CLI::App& command) {
  quantization.add_to(command, "--quantize", "Quantize the blocks' projections when loading");
}

void ModelOption::add_to(CLI::App& command, const char* flag) {
  command.add_option(
      flag, name,
      "Folder with config.json, weights and tokenizer.json; a GGUF file; a bundled model: mamba-tiny, "
      "mamba2-tiny (default); or a model of the Hugging Face hub, as OWNER/NAME");
  command.add_option("--revision", revision,
                     "Branch, tag or commit of a model of the hub (default: main); also OWNER/NAME@REVISION");
}

std::filesystem::path resolve_with_progress(const std::string& name, ResolveOptions options) {
  ProgressLine line;
  options.progress = [&](const DownloadProgress& progress) {
    line.show(fmt::format("downloading {}", progress.file), progress.done_bytes, progress.total_bytes,
              fmt::format("{} of {}", format_bytes(progress.done_bytes), format_bytes(progress.total_bytes)));
  };
  return resolve_model(name, options);
}

std::filesystem::path ModelOption::folder(ModelFiles files) const {
  std::error_code error;
  const std::string wanted = name.empty() ? default_model : name;
  if (wanted.find('/') == std::string::npos && revision.empty() && !std::filesystem::exists(name, error)) {
    if (std::filesystem::path bundled = find_bundled(wanted); !bundled.empty()) return bundled;
    if (!name.empty()) {
      fail(ErrorCode::not_found, "--model: there is no folder '", name,
           "', nor a bundled model of that name; models of the hub are named OWNER/NAME");
    }
    fail(ErrorCode::not_found, "the bundled model ", default_model,
         " is not there; name a folder by --model, or the folder of the bundled models by OPHIS_MODELS");
  }
  return resolve_with_progress(wanted, {.revision = revision, .files = files});
}

LanguageModel ModelOption::load(DType dtype, Device device) const {
  ProgressLine line;
  LoadOptions options;
  options.dtype = dtype;
  options.device = device;
  options.quantization = quantization.value();
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    line.show("loading", done, total, format_bytes(done));
  };
  return LanguageModel::load(folder(), options);
}

void TokenizerOption::add_to(CLI::App& command) {
  command.add_option("--tokenizer", name,
                     "A tokenizer.json, a folder with one, a GGUF file, or a model of the hub that has one "
                     "(default: the model's)");
}

Tokenizer TokenizerOption::load(const ModelOption& model) const {
  const ModelFiles files = ModelFiles::tokenizer;
  return Tokenizer::from_file(name.empty() ? model.folder(files)
                                           : resolve_with_progress(name, {.files = files}));
}

std::string read_text(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    if (std::cin.bad()) fail(ErrorCode::io, "cannot read stdin");
    return std::move(text).str();
  }
  std::error_code error;
  if (!std::filesystem::exists(path, error)) fail(ErrorCode::not_found, "there is no file '", path, "'");
  if (std::filesystem::is_directory(path, error)) fail(ErrorCode::io, "'", path, "' is a folder, not a file");
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::io, "cannot open '", path, "': ", std::strerror(errno));
  if (file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  if (file.bad() || text.bad()) fail(ErrorCode::io, "cannot read '", path, "': ", std::strerror(errno));
  return std::move(text).str();
}

std::vector<std::int32_t> parse_ids(std::string_view text) {
  constexpr std::string_view separators = ", \t\r\n[]";
  std::vector<std::int32_t> ids;
  for (std::size_t begin = text.find_first_not_of(separators); begin != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(separators, begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    std::int32_t id = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    OPHIS_REQUIRE(error == std::errc() && rest == word.data() + word.size() && id >= 0, "'", word,
                  "' is not a token id (a number from 0 to 2147483647)");
    ids.push_back(id);
    begin = text.find_first_not_of(separators, end);
  }
  return ids;
}

}  // namespace ophis::cli
