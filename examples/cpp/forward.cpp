// A model's parts used one by one: an op, the loss of a text, and a state that is carried on: forward MODEL
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "ophis/hub/resolve_model.hpp"
#include "ophis/models/language_model.hpp"
#include "ophis/models/tokenizer.hpp"
#include "ophis/ops/softmax.hpp"

namespace {

/// The ids of a text, as a model takes them: (1, seqlen) int64.
ophis::OwnedTensor encode(const ophis::Tokenizer& tokenizer, const std::string& text) {
  const std::vector<std::int32_t> ids = tokenizer.encode(text);
  ophis::OwnedTensor tensor(ophis::DType::int64, {1, static_cast<std::int64_t>(ids.size())});
  std::copy(ids.begin(), ids.end(), tensor->data<std::int64_t>());
  return tensor;
}

/// The id with the largest probability, and that probability: logits (1, 1, vocab_size) float32.
std::int64_t choose(ophis::ExecContext& exec, const ophis::Tensor& logits, float& probability) {
  const ophis::OwnedTensor probabilities(ophis::DType::float32, logits.shape());
  ophis::SoftmaxArgs args;
  args.x = logits;
  args.out = probabilities;
  ophis::softmax(exec, args);
  exec.fence();
  const float* const first = probabilities->data<float>();
  const float* const best = std::max_element(first, first + probabilities->count());
  probability = *best;
  return best - first;
}

}  // namespace

int main(int argc, char** argv) try {
  // A folder, or the name of a model of the Hugging Face hub, such as "state-spaces/mamba-130m-hf".
  const auto folder = ophis::resolve_model(argc > 1 ? argv[1] : "examples/models/mamba2-tiny");
  const auto model = ophis::LanguageModel::load(folder);
  const auto tokenizer = ophis::Tokenizer::from_file(folder);
  ophis::ExecContext exec(model.device());

  // All positions of a text at once, with the loss of predicting each from those before it.
  const std::string text = "To be, or not to be: that is the question.";
  const ophis::OwnedTensor ids = encode(tokenizer, text);
  ophis::ForwardInput input;
  input.input_ids = ids;
  input.labels = ids;
  const double loss = model.forward(exec, input).loss.value();
  std::printf("%s\nperplexity %.2f\n", text.c_str(), std::exp(loss));

  // A prompt, and then one position at a time: the cache is all that the model remembers.
  ophis::ModelCache cache = model.make_cache(/*batch=*/1);
  const ophis::OwnedTensor prompt = encode(tokenizer, "JULIET:");
  ophis::ForwardInput start;
  start.input_ids = prompt;
  start.cache = &cache;
  start.logits_to_keep = 1;
  const ophis::OwnedTensor logits = std::move(model.forward(exec, start).logits);
  const ophis::OwnedTensor next(ophis::DType::int64, {1});
  const ophis::Tensor step_logits = logits->reshape({1, model.config().vocab_size});
  for (int i = 0; i < 10; ++i) {
    float probability = 0.0f;
    *next->data<std::int64_t>() = choose(exec, logits, probability);
    const std::vector<std::int32_t> id{static_cast<std::int32_t>(*next->data<std::int64_t>())};
    std::printf("%5.1f %% %s\n", 100.0 * static_cast<double>(probability), tokenizer.decode(id).c_str());
    model.step(exec, next, cache, step_logits);
    exec.fence();
  }
} catch (const ophis::Error& error) {
  std::fprintf(stderr, "%s: %s\n", ophis::to_string(error.code()), error.what());
  return 1;
}
