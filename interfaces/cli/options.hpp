// Options that several subcommands share, and what they stand for.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "ophis/core/exec_context.hpp"
#include "ophis/hub/resolve_model.hpp"
#include "ophis/models/language_model.hpp"
#include "ophis/models/tokenizer.hpp"

namespace ophis::cli {

/// --json
void add_json_option(CLI::App& command, bool& json);

/// --threads, for initialize(); 0 if it is not given.
void add_threads_option(CLI::App& command, int& threads);

/// --device and --threads.
struct ComputeOptions {
  std::string device = "cpu";
  int threads = 0;

  void add_to(CLI::App& command);
  /// The first call also starts the library with this number of threads.
  ExecContext make_context() const;
};

/// float32, bfloat16 or float16.
CLI::Validator compute_dtype_check();

/// --dtype
struct DTypeOption {
  std::string name = "float32";

  void add_to(CLI::App& command);
  DType value() const { return parse_dtype(name); }
};

/// --state-dtype
struct StateDTypeOption {
  std::string name = "float32";

  void add_to(CLI::App& command);
  DType value() const { return parse_dtype(name); }
};

/// --format or --quantize, with --group-size, --asymmetric and --quantize-tables
struct QuantizationOption {
  std::string format;  ///< empty: none
  std::int64_t group_size = 128;
  bool asymmetric = false;
  std::string tables = {};  ///< empty: none

  void add_to(CLI::App& command, const char* name, const char* description);
  Quantization value() const;
};

/// resolve_model, with a line on stderr that shows the progress of a download.
std::filesystem::path resolve_with_progress(const std::string& name, ResolveOptions options);

/// --model and --revision
struct ModelOption {
  std::string name, revision;

  QuantizationOption quantization{};

  /// `flag`: how the option is called, as CLI11 takes it.
  void add_to(CLI::App& command, const char* flag = "--model");
  /// --quantize and what belongs to it, of a command that loads weights.
  void add_quantization_to(CLI::App& command);
  /// The folder as given, the bundled model of that name, or the model of that id on the hub, whose files are
  /// downloaded if they are not in the cache; without --model the default bundled one. Throws as
  /// resolve_model.
  std::filesystem::path folder(ModelFiles files = ModelFiles::all) const;
  /// Loads the weights to a device; a slow load shows its progress.
  LanguageModel load(DType dtype, Device device) const;
};

/// --tokenizer
struct TokenizerOption {
  std::string name;

  void add_to(CLI::App& command);
  /// The tokenizer given, or else the model's.
  Tokenizer load(const ModelOption& model) const;
};

/// The whole content of a file; "-" is stdin. Throws Error(not_found | io).
std::string read_text(const std::string& path);

/// Token ids separated by commas or white space; brackets around the list are passed over.
/// Throws Error(invalid_argument) that shows what is not an id.
std::vector<std::int32_t> parse_ids(std::string_view text);

}  // namespace ophis::cli
