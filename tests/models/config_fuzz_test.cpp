// Mutated config.json files: each must be read or throw ophis::Error, and a model whose weights do not fit
// must say so.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "models/src/json.hpp"
#include "ophis/models/language_model.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ophis;
using nlohmann::json;

namespace {

const std::filesystem::path golden_models =
    std::filesystem::path(OPHIS_SOURCE_DIR) / "tests" / "goldens" / "models";

std::size_t below(std::mt19937& random, std::size_t bound) { return random() % bound; }

/// One byte changed, some removed, or some doubled.
std::string mutate_bytes(std::mt19937& random, std::string text) {
  const std::size_t at = below(random, text.size()), count = 1 + below(random, 8);
  switch (below(random, 4)) {
    case 0:
      text[at] = static_cast<char>(random());
      break;
    case 1:
      text.erase(at, count);
      break;
    case 2:
      text.insert(at, text.substr(at, count));
      break;
    default:
      text.resize(at);
  }
  return text;
}

/// One field with a value that nobody expects there.
std::string mutate_field(std::mt19937& random, json config) {
  json nested = json::array();
  for (int depth = 0; depth < 5000; ++depth) nested = json::array({std::move(nested)});
  const std::vector<json> values{nullptr,
                                 true,
                                 -1,
                                 0,
                                 1,
                                 3,
                                 1 << 24,
                                 9223372036854775807LL,
                                 1e300,
                                 -0.5,
                                 "",
                                 "auto",
                                 "\xff",
                                 json::array({1, 2, 3}),
                                 json::object(),
                                 json{{"__float__", "Infinity"}},
                                 std::move(nested)};
  auto field = config.begin();
  std::advance(field, static_cast<std::ptrdiff_t>(below(random, config.size())));
  *field = values[below(random, values.size())];
  return config.dump(-1, ' ', false, json::error_handler_t::ignore);
}

/// Loads a folder and runs one position; anything but success or Error fails the test.
void load_and_run(const std::filesystem::path& folder, int& loaded, int& refused) {
  try {
    const LanguageModel model =
        LanguageModel::load(folder, {.dtype = DType::float32, .device = {}, .progress = {}});
    ExecContext exec;
    std::int64_t id = 1;
    ForwardInput input;
    input.input_ids = Tensor(&id, DType::int64, {1, 1});
    model.forward(exec, input);
    ++loaded;
  } catch (const Error&) {
    ++refused;
  }
}

}  // namespace

TEST_CASE("mutated configurations load or are refused") {
  std::mt19937 random(20);
  int loaded = 0, refused = 0;
  for (const char* const name : {"mamba-options", "mamba2-options"}) {
    const std::string good = read_text_file(golden_models / name / "config.json");
    const test::TemporaryFolder folder;
    std::filesystem::copy(golden_models / name / "model.safetensors", folder.path());
    for (int round = 0; round < 150; ++round) {
      const std::string config =
          round % 2 == 0 ? mutate_bytes(random, good) : mutate_field(random, parse_json(good, "config.json"));
      folder.write("config.json", config);
      INFO(config.substr(0, 2000));
      load_and_run(folder.path(), loaded, refused);
    }
  }
  CHECK(loaded > 20);
  CHECK(refused > 100);
}
