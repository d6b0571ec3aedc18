// Tokenizers, models, caches and generation from C; on the CPU, or the device that OPHIS_TEST_DEVICE names.
// Argument: the folder of the bundled models.
#define _POSIX_C_SOURCE 200809L  // mkdtemp
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

static ophis_context* context;

typedef struct {
  ophis_tokenizer* tokenizer;
  ophis_model* model;
  ophis_model_config config;
} language_model;

static language_model load(const char* folder) {
  language_model result;
  memset(&result, 0, sizeof result);
  CHECK_OK(ophis_tokenizer_load(folder, &result.tokenizer));
  ophis_load_options options;
  CHECK_OK(ophis_load_options_init(&options, sizeof options));
  options.device = test_device();
  CHECK_OK(ophis_dtype_parse("float32", &options.dtype));
  CHECK_OK(ophis_model_load(folder, &options, &result.model));
  result.config.size = sizeof result.config;
  CHECK_OK(ophis_model_get_config(result.model, &result.config));
  return result;
}

static void destroy(language_model* model) {
  ophis_model_destroy(model->model);
  ophis_tokenizer_destroy(model->tokenizer);
}

/// `text` to ids and back, at once and one by one; returns the first id.
static int32_t round_trip(const ophis_tokenizer* tokenizer, const char* text, size_t bytes) {
  int32_t* ids = NULL;
  int64_t num_ids = 0;
  CHECK_OK(ophis_tokenizer_encode(tokenizer, text, bytes, 1, &ids, &num_ids));
  CHECK(num_ids > 0 && num_ids <= (int64_t)bytes);
  char* decoded = NULL;
  size_t decoded_bytes = 0;
  CHECK_OK(ophis_tokenizer_decode(tokenizer, ids, num_ids, 0, &decoded, &decoded_bytes));
  CHECK(decoded_bytes == bytes && memcmp(decoded, text, bytes + 1) == 0);

  ophis_stream_decoder* decoder = NULL;
  CHECK_OK(ophis_stream_decoder_create(tokenizer, 0, &decoder));
  char streamed[100] = "";
  for (int64_t i = 0; i <= num_ids; ++i) {
    char* piece = NULL;
    CHECK_OK(i < num_ids ? ophis_stream_decoder_push(decoder, ids[i], &piece)
                         : ophis_stream_decoder_flush(decoder, &piece));
    strcat(streamed, piece);
    ophis_free(piece);
  }
  CHECK(strncmp(streamed, text, strlen(text)) == 0);
  ophis_stream_decoder_destroy(decoder);
  const int32_t first = ids[0];
  ophis_free(decoded);
  ophis_free(ids);
  return first;
}

static void test_tokenizer(const ophis_tokenizer* tokenizer) {
  round_trip(tokenizer, "zero \0 within", 13);
  const char text[] = "JULIET: \xc3\xa9t\xc3\xa9!";
  const int32_t first = round_trip(tokenizer, text, sizeof text - 1);
  char* token = NULL;
  int32_t id = -1, *ids = NULL;
  int64_t num_ids = 0, vocab_size = 0;
  CHECK_OK(ophis_tokenizer_id_to_token(tokenizer, first, &token));
  CHECK_OK(ophis_tokenizer_token_to_id(tokenizer, token, &id));
  CHECK(id == first);
  CHECK_OK(ophis_tokenizer_vocab_size(tokenizer, &vocab_size));
  CHECK(vocab_size > id);
  ophis_free(token);

  CHECK_FAILS(OPHIS_NOT_FOUND, "no token 'no such token'",
              ophis_tokenizer_token_to_id(tokenizer, "no such token", &id));
  CHECK_FAILS(OPHIS_NOT_FOUND, "no token of id 1000000",
              ophis_tokenizer_id_to_token(tokenizer, 1000000, &token));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "UTF-8",
              ophis_tokenizer_encode(tokenizer, "\xff", 1, 1, &ids, &num_ids));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "num_ids is -1",
              ophis_tokenizer_decode(tokenizer, NULL, -1, 0, &token, NULL));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "skip_special: it is 3",
              ophis_tokenizer_decode(tokenizer, NULL, 0, 3, &token, NULL));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "tokenizer is NULL", ophis_tokenizer_vocab_size(NULL, &vocab_size));
}

static void test_config(const language_model* model, int32_t architecture) {
  const ophis_model_config* const config = &model->config;
  CHECK(config->architecture == architecture && config->size == sizeof *config);
  CHECK(config->dtype.code == OPHIS_CODE_FLOAT && config->dtype.bits == 32);
  CHECK(config->device.device_type == test_device().device_type);
  CHECK(config->vocab_size > 0 && config->d_inner >= config->d_model && config->n_layer > 0);
  CHECK((config->dt_rank > 0) == (architecture == OPHIS_MAMBA));
  CHECK((config->nheads * config->headdim == config->d_inner) == (architecture == OPHIS_MAMBA2));
  CHECK(config->num_eos_token_ids == 0 || config->eos_token_ids != NULL);
  ophis_model_config older;
  memset(&older, 0xff, sizeof older);
  older.size = offsetof(ophis_model_config, vocab_size);
  CHECK_OK(ophis_model_get_config(model->model, &older));
  CHECK(older.parameter_count == config->parameter_count && older.vocab_size == -1);
  older.size = 0;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "size is 0", ophis_model_get_config(model->model, &older));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "config is NULL", ophis_model_get_config(model->model, NULL));
}

enum { batch = 2, seqlen = 6 };

static const ophis_device cpu = {OPHIS_DEVICE_CPU, 0};

static float first_value(const ophis_tensor* tensor) {
  ophis_tensor* const host = copy_to(context, tensor, cpu);
  const float value = ((const float*)host->data)[0];
  ophis_tensor_destroy(host);
  return value;
}

/// Whether the last `positions` positions of got and of want are the same, to rounding.
static int same_logits(const ophis_tensor* got, const ophis_tensor* want, int64_t positions) {
  ophis_tensor *const g = copy_to(context, got, cpu), *const w = copy_to(context, want, cpu);
  const int64_t vocab = w->shape[2];
  double largest = 0;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t got_positions = g->ndim == 3 ? g->shape[1] : 1;
    const float* const at_g = (const float*)g->data + ((b + 1) * got_positions - positions) * vocab;
    const float* const at_w = (const float*)w->data + ((b + 1) * w->shape[1] - positions) * vocab;
    for (int64_t i = 0; i < positions * vocab; ++i)
      largest = fmax(largest, fabs((double)(at_g[i] - at_w[i])));
  }
  ophis_tensor_destroy(w);
  ophis_tensor_destroy(g);
  return largest < 1e-3;
}

/// A forward pass over positions [begin, end) of ids.
static ophis_output* forward(const ophis_model* model, int64_t* ids, int64_t begin, int64_t end,
                             ophis_cache* cache) {
  const int64_t shape[] = {batch, end - begin}, strides[] = {seqlen, 1};
  ophis_tensor input = cpu_tensor(ids, OPHIS_CODE_INT, 64, 2, shape);
  input.strides = strides;
  input.byte_offset = (uint64_t)begin * sizeof *ids;
  ophis_forward_args args;
  CHECK_OK(ophis_forward_args_init(&args, sizeof args));
  args.input_ids = &input;
  args.cache = cache;
  ophis_output* output = NULL;
  CHECK_OK(ophis_model_forward(model, context, &args, &output));
  return output;
}

static const ophis_tensor* logits_of(const ophis_output* output) {
  const ophis_tensor* logits = NULL;
  CHECK_OK(ophis_output_logits(output, &logits));
  return logits;
}

/// A prompt in two pieces and a step, from a cache and from its copy, gives what the whole gives.
static void test_forward(const language_model* model) {
  int64_t ids[batch * seqlen];
  for (int i = 0; i < batch * seqlen; ++i) ids[i] = 30 + 7 * i;
  ophis_output* const whole = forward(model->model, ids, 0, seqlen, NULL);
  const ophis_tensor* const want = logits_of(whole);
  CHECK(want->ndim == 3 && want->shape[0] == batch && want->shape[1] == seqlen);
  CHECK(want->shape[2] == model->config.vocab_size);

  ophis_cache *cache = NULL, *copied = NULL;
  CHECK_OK(ophis_cache_create(model->model, batch, NULL, &cache));
  CHECK_OK(ophis_cache_create(model->model, batch, NULL, &copied));
  ophis_output_destroy(forward(model->model, ids, 0, 3, cache));
  CHECK_OK(ophis_cache_copy(context, cache, copied));
  ophis_output* const rest = forward(model->model, ids, 3, seqlen, cache);
  CHECK(same_logits(logits_of(rest), want, 3));
  ophis_output_destroy(rest);
  ophis_output_destroy(forward(model->model, ids, 3, seqlen - 1, copied));
  int64_t seen = 0, sequences = 0;
  CHECK_OK(ophis_cache_seqlen(copied, &seen));
  CHECK_OK(ophis_cache_batch(copied, &sequences));
  CHECK(seen == seqlen - 1 && sequences == batch);

  int64_t last[batch] = {ids[seqlen - 1], ids[2 * seqlen - 1]};
  const int64_t ids_shape[] = {batch}, logits_shape[] = {batch, model->config.vocab_size};
  ophis_tensor* logits = NULL;
  CHECK_OK(ophis_tensor_create(test_device(), want->dtype, 2, logits_shape, &logits));
  const ophis_tensor last_ids = cpu_tensor(last, OPHIS_CODE_INT, 64, 1, ids_shape);
  ophis_tensor* const step_ids = copy_to(context, &last_ids, test_device());
  CHECK_OK(ophis_model_step(model->model, context, step_ids, copied, logits));
  CHECK(same_logits(logits, want, 1));
  ophis_tensor_destroy(step_ids);

  const ophis_tensor *conv = NULL, *ssm = NULL;
  CHECK_OK(ophis_cache_state(copied, 0, &conv, &ssm));
  CHECK(conv->ndim == 3 && conv->shape[0] == batch && conv->shape[2] == model->config.d_conv - 1);
  CHECK(ssm->dtype.bits == 32 && ssm->shape[ssm->ndim - 1] == model->config.d_state);
  CHECK(first_value(ssm) != 0);
  CHECK_OK(ophis_cache_reset(context, copied));
  CHECK(first_value(ssm) == 0);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "layer is -1", ophis_cache_state(copied, -1, &conv, &ssm));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "batch of at least 1",
              ophis_cache_create(model->model, 0, NULL, &cache));
  const ophis_dtype int32 = {OPHIS_CODE_INT, 32, 1};
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "a state must be float32",
              ophis_cache_create(model->model, 1, &int32, &cache));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "from is NULL", ophis_cache_copy(context, NULL, cache));

  ophis_tensor_destroy(logits);
  ophis_cache_destroy(copied);
  ophis_cache_destroy(cache);
  ophis_cache_destroy(NULL);
  ophis_output_destroy(whole);
  ophis_output_destroy(NULL);
}

static void test_losses_and_hidden_states(const language_model* model) {
  int64_t ids[seqlen] = {30, 40, 50, 60, 70, 80};
  const int64_t shape[] = {1, seqlen};
  const ophis_tensor input = cpu_tensor(ids, OPHIS_CODE_INT, 64, 2, shape);
  ophis_forward_args args;
  CHECK_OK(ophis_forward_args_init(&args, sizeof args));
  args.input_ids = &input;
  args.labels = &input;
  args.logits_to_keep = 2;
  args.output_hidden_states = 1;
  ophis_output* output = NULL;
  CHECK_OK(ophis_model_forward(model->model, context, &args, &output));
  double loss = 0;
  CHECK_OK(ophis_output_loss(output, &loss));
  CHECK(loss > 0 && loss < 50);
  CHECK(logits_of(output)->shape[1] == 2);
  const ophis_tensor* states = NULL;
  CHECK_OK(ophis_output_hidden_states(output, model->config.n_layer, &states));
  CHECK(states->ndim == 3 && states->shape[1] == seqlen && states->shape[2] == model->config.d_model);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "hidden states",
              ophis_output_hidden_states(output, model->config.n_layer + 1, &states));
  ophis_output_destroy(output);

  args.labels = NULL;
  CHECK_OK(ophis_model_forward(model->model, context, &args, &output));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "no labels", ophis_output_loss(output, &loss));
  ophis_output_destroy(output);
  args.inputs_embeds = &input;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ophis_model_forward: forward: give either input_ids or inputs_embeds",
              ophis_model_forward(model->model, context, &args, &output));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "model is NULL", ophis_model_forward(NULL, context, &args, &output));
}

typedef struct {
  int calls, stop_after;
} watcher;

static int32_t watch_token(void* user_data, int64_t sequence, int32_t id) {
  watcher* const self = user_data;
  ++self->calls;
  CHECK(sequence >= 0 && sequence < 2 && id >= 0);
  return self->calls != self->stop_after;
}

static void test_generate(const language_model* model) {
  enum { new_tokens = 9 };
  const int32_t first[] = {40, 50, 60}, second[] = {70};
  const int32_t* const prompts[] = {first, second};
  const int64_t lengths[] = {3, 1};
  int32_t ids[2 * new_tokens], alone[new_tokens];
  int64_t num_ids[2], num_alone[1];
  ophis_generation_stats stats;
  memset(&stats, 0, sizeof stats);
  stats.size = sizeof stats;
  watcher self = {0, 0};
  ophis_generation_options options;
  CHECK_OK(ophis_generation_options_init(&options, sizeof options));
  CHECK(options.max_new_tokens == 128);
  options.max_new_tokens = new_tokens;
  options.ignore_eos = 1;
  options.on_token = watch_token;
  options.user_data = &self;
  CHECK_OK(ophis_generate(model->model, context, prompts, lengths, 2, &options, ids, num_ids, &stats));
  CHECK(num_ids[0] == new_tokens && num_ids[1] == new_tokens && self.calls == 2 * new_tokens);
  CHECK(stats.prompt_tokens == 4 && stats.steps == new_tokens - 1 && stats.prefill_seconds > 0);
  CHECK_OK(
      ophis_generate(model->model, context, &prompts[1], &lengths[1], 1, &options, alone, num_alone, NULL));
  CHECK(memcmp(alone, ids + new_tokens, sizeof alone) == 0);

  const watcher stops = {0, 3};
  self = stops;
  CHECK_OK(ophis_generate(model->model, context, prompts, lengths, 1, &options, ids, num_ids, NULL));
  CHECK(num_ids[0] == 3 && self.calls == 3);

  const int64_t ends[] = {ids[1]};
  options.on_token = NULL;
  options.ignore_eos = 0;
  options.eos_token_ids = ends;
  options.num_eos_token_ids = 1;
  CHECK_OK(ophis_generate(model->model, context, prompts, lengths, 1, &options, ids, num_ids, NULL));
  CHECK(num_ids[0] == (ids[0] == ends[0] ? 1 : 2));

  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "num_prompts is 0",
              ophis_generate(model->model, context, prompts, lengths, 0, &options, ids, num_ids, NULL));
  const int64_t empty[] = {0};
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "prompt_lengths[0] is 0",
              ophis_generate(model->model, context, prompts, empty, 1, &options, ids, num_ids, NULL));
  const int32_t outside[] = {-1};
  const int32_t* const bad[] = {outside};
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "token -1 is outside the vocabulary",
              ophis_generate(model->model, context, bad, &lengths[1], 1, &options, ids, num_ids, NULL));
  options.max_new_tokens = -1;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "max_new_tokens is -1",
              ophis_generate(model->model, context, prompts, lengths, 1, &options, ids, num_ids, NULL));
}

static int32_t join_text(void* user_data, int64_t sequence, const char* text, size_t text_bytes) {
  char* const joined = user_data;
  CHECK(sequence >= 0 && sequence < 2);
  if (sequence == 0) strncat(joined, text, text_bytes);
  return 1;
}

static void test_sampling(const language_model* model) {
  enum { new_tokens = 12, sequences = 4 };
  const int32_t first[] = {40, 50, 60}, second[] = {70};
  const int32_t* const prompts[] = {first, second};
  const int64_t lengths[] = {3, 1};
  int32_t ids[sequences * new_tokens], again[sequences * new_tokens], reasons[sequences];
  int64_t num_ids[sequences];
  float logprobs[sequences * new_tokens];
  ophis_generation_options options;
  CHECK_OK(ophis_generation_options_init(&options, sizeof options));
  CHECK(options.temperature == 0 && options.top_p == 1 && options.repetition_penalty == 1);
  CHECK(options.num_return_sequences == 1 && options.seed == 0);
  options.max_new_tokens = new_tokens;
  options.ignore_eos = 1;
  options.temperature = 0.9;
  options.top_k = 50;
  options.top_p = 0.95;
  options.repetition_penalty = 1.1;
  options.seed = 42;
  options.num_return_sequences = 2;
  options.logprobs = logprobs;
  options.finish_reasons = reasons;
  CHECK_OK(ophis_generate(model->model, context, prompts, lengths, 2, &options, ids, num_ids, NULL));
  for (int i = 0; i < sequences; ++i) {
    CHECK(num_ids[i] == new_tokens && reasons[i] == OPHIS_FINISH_LENGTH);
    for (int k = 0; k < new_tokens; ++k) CHECK(logprobs[i * new_tokens + k] < 0);
  }
  CHECK(memcmp(ids, ids + new_tokens, new_tokens * sizeof ids[0]) != 0);
  options.logprobs = NULL;
  enum { top = 2 };
  int32_t top_ids[sequences * new_tokens * top];
  float top_values[sequences * new_tokens * top];
  options.top_logprobs = top;
  CHECK(ophis_generate(model->model, context, prompts, lengths, 2, &options, again, num_ids, NULL) ==
        OPHIS_INVALID_ARGUMENT);
  CHECK(strstr(ophis_last_error(), "top_logprob_ids") != NULL);
  options.top_logprob_ids = top_ids;
  options.top_logprob_values = top_values;
  CHECK_OK(ophis_generate(model->model, context, prompts, lengths, 2, &options, again, num_ids, NULL));
  CHECK(memcmp(ids, again, sizeof ids) == 0);
  for (int i = 0; i < sequences * new_tokens; ++i) {
    CHECK(top_ids[i * top] != top_ids[i * top + 1]);
    CHECK(top_values[i * top] >= top_values[i * top + 1]);
    if (ids[i] == top_ids[i * top]) CHECK(fabsf(logprobs[i] - top_values[i * top]) < 1e-3f);
  }
  options.top_logprobs = 0;

  // A stop string in the middle of what the first sequence says.
  char* text = NULL;
  size_t text_bytes = 0;
  CHECK_OK(ophis_tokenizer_decode(model->tokenizer, ids, new_tokens, 1, &text, &text_bytes));
  const size_t middle = text_bytes / 2;
  const char* const stop[] = {"never said", text + middle};
  char told[1024] = "";
  options.num_return_sequences = 0;
  options.tokenizer = model->tokenizer;
  options.stop = stop;
  options.num_stop = 2;
  options.on_text = join_text;
  options.user_data = told;
  CHECK_OK(ophis_generate(model->model, context, prompts, lengths, 1, &options, again, num_ids, NULL));
  CHECK(num_ids[0] <= new_tokens && memcmp(ids, again, (size_t)num_ids[0] * sizeof ids[0]) == 0);
  CHECK(reasons[0] == OPHIS_FINISH_STOP);
  CHECK(strlen(told) <= middle && strncmp(text, told, strlen(told)) == 0);

  options.tokenizer = NULL;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "need a tokenizer",
              ophis_generate(model->model, context, prompts, lengths, 1, &options, again, num_ids, NULL));
  ophis_free(text);
  options.on_text = NULL;
  options.num_stop = 0;
  options.top_p = 2;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "top_p is 2",
              ophis_generate(model->model, context, prompts, lengths, 1, &options, again, num_ids, NULL));
}

/// Half of a text, its states through a file, and the other half.
static void test_states_in_a_file(const language_model* model) {
  enum { half = 6 };
  const char* const file = "c_models_test.states";
  const int32_t prompt[] = {40, 50, 60};
  const int32_t* const prompts[] = {prompt};
  const int64_t length = 3;
  int32_t whole[2 * half], pieces[2 * half];
  int64_t num_ids = 0, seqlen = 0;
  ophis_cache *cache = NULL, *restored = NULL;
  ophis_generation_options options;
  CHECK_OK(ophis_generation_options_init(&options, sizeof options));
  options.ignore_eos = 1;
  options.temperature = 1;
  options.repetition_penalty = 1.2;
  options.max_new_tokens = 2 * half;
  CHECK_OK(ophis_generate(model->model, context, prompts, &length, 1, &options, whole, &num_ids, NULL));

  CHECK_OK(ophis_cache_create(model->model, 1, NULL, &cache));
  CHECK_OK(ophis_cache_create(model->model, 1, NULL, &restored));
  options.max_new_tokens = half;
  options.cache = cache;
  CHECK_OK(ophis_generate(model->model, context, prompts, &length, 1, &options, pieces, &num_ids, NULL));
  CHECK_OK(ophis_cache_save(context, model->model, cache, file));
  CHECK_OK(ophis_cache_load(context, model->model, restored, file));
  CHECK_OK(ophis_cache_seqlen(restored, &seqlen));
  CHECK(seqlen == 3 + half - 1);
  int32_t seen[3 + half - 1];
  memcpy(seen, prompt, sizeof prompt);
  memcpy(seen + 3, pieces, (half - 1) * sizeof pieces[0]);
  const int32_t* const histories[] = {seen};
  const int32_t* const last[] = {pieces + half - 1};
  const int64_t one = 1;
  options.cache = restored;
  options.history = histories;
  options.history_lengths = &seqlen;
  CHECK_OK(ophis_generate(model->model, context, last, &one, 1, &options, pieces + half, &num_ids, NULL));
  CHECK(memcmp(whole, pieces, sizeof whole) == 0);

  CHECK_FAILS(OPHIS_NOT_FOUND, "no such folder",
              ophis_cache_save(context, model->model, cache, "no such folder/states"));
  CHECK_FAILS(OPHIS_NOT_FOUND, "no.states", ophis_cache_load(context, model->model, cache, "no.states"));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "path is NULL", ophis_cache_load(context, model->model, cache, NULL));
  remove(file);
  ophis_cache_destroy(restored);
  ophis_cache_destroy(cache);
}

static int32_t stop_loading(void* user_data, uint64_t done, uint64_t total) {
  *(uint64_t*)user_data = total;
  return done > total;
}

static void test_loading(const char* folder) {
  ophis_model* model = NULL;
  uint64_t total = 0;
  ophis_load_options options;
  CHECK_OK(ophis_load_options_init(&options, sizeof options));
  options.progress = stop_loading;
  options.user_data = &total;
  CHECK_FAILS(OPHIS_CANCELLED, "asked to stop", ophis_model_load(folder, &options, &model));
  CHECK(model == NULL && total > 0);
  options.progress = NULL;
  CHECK_OK(ophis_dtype_parse("bfloat16", &options.dtype));
  CHECK_OK(ophis_model_load(folder, &options, &model));
  ophis_model_config config;
  config.size = sizeof config;
  CHECK_OK(ophis_model_get_config(model, &config));
  CHECK(config.dtype.code == OPHIS_CODE_BFLOAT);
  ophis_model_destroy(model);
  CHECK_OK(ophis_dtype_parse("int8", &options.dtype));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "cannot compute in int8", ophis_model_load(folder, &options, &model));
  options.dtype.bits = 0;
  options.device.device_type = OPHIS_DEVICE_ROCM;
  CHECK_FAILS(OPHIS_UNSUPPORTED, "hip:0", ophis_model_load(folder, &options, &model));
  CHECK_FAILS(OPHIS_NOT_FOUND, "no/such/folder", ophis_model_load("no/such/folder", NULL, &model));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "name is NULL", ophis_model_load(NULL, NULL, &model));
}

/// The loss of a model on a few ids.
static double loss_of(const char* folder, const ophis_load_options* options) {
  ophis_model* model = NULL;
  CHECK_OK(ophis_model_load(folder, options, &model));
  int64_t ids[32];
  for (int i = 0; i < 32; ++i) ids[i] = 100 + 7 * i;
  const ophis_tensor tokens = cpu_tensor(ids, OPHIS_CODE_INT, 64, 2, (const int64_t[]){1, 32});
  ophis_forward_args args;
  CHECK_OK(ophis_forward_args_init(&args, sizeof args));
  args.input_ids = args.labels = &tokens;
  ophis_output* output = NULL;
  CHECK_OK(ophis_model_forward(model, context, &args, &output));
  double loss = 0;
  CHECK_OK(ophis_output_loss(output, &loss));
  ophis_output_destroy(output);
  ophis_model_destroy(model);
  return loss;
}

static void test_quantization(const char* folder) {
  ophis_load_options options;
  CHECK_OK(ophis_load_options_init(&options, sizeof options));
  options.device = test_device();
  CHECK_OK(ophis_dtype_parse("float32", &options.dtype));
  const double exact = loss_of(folder, &options);
  options.projection_bits = 4;
  options.table_bits = 8;
  const double quantized = loss_of(folder, &options);
  CHECK(quantized != exact && fabs(quantized - exact) < 0.1 * exact);

  char to[] = "/tmp/ophis-c-test-XXXXXX", out[64];
  CHECK(mkdtemp(to) != NULL);
  snprintf(out, sizeof out, "%s/out", to);
  ophis_quantize_options quantize;
  CHECK_OK(ophis_quantize_options_init(&quantize, sizeof quantize));
  CHECK(quantize.projection_bits == 4 && quantize.calibration_tokens == 8192);
  quantize.table_bits = 8;
  CHECK_OK(ophis_quantize(folder, out, &quantize));
  options.projection_bits = options.table_bits = 0;
  CHECK(loss_of(out, &options) == quantized);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "exists already", ophis_quantize(folder, out, NULL));
  quantize.projection_bits = 5;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "projection_bits: it is 5, but must be 8, 4 or 0",
              ophis_quantize(folder, out, &quantize));
  const char* const files[] = {"out/config.json", "out/model.safetensors", "out/tokenizer.json", "out", ""};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
    snprintf(out, sizeof out, "%s/%s", to, files[i]);
    CHECK(remove(out) == 0);
  }
}

int main(int argc, char** argv) {
  const char* const names[] = {"mamba-tiny", "mamba2-tiny"};
  const int32_t architectures[] = {OPHIS_MAMBA, OPHIS_MAMBA2};
  if (argc != 2) return 2;
  CHECK_OK(ophis_context_create(test_device(), NULL, &context));
  for (int i = 0; i < 2; ++i) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/%s", argv[1], names[i]);
    language_model model = load(folder);
    test_tokenizer(model.tokenizer);
    test_config(&model, architectures[i]);
    test_forward(&model);
    test_losses_and_hidden_states(&model);
    test_generate(&model);
    test_sampling(&model);
    test_states_in_a_file(&model);
    destroy(&model);
    test_loading(folder);
    test_quantization(folder);
  }
  ophis_context_destroy(context);
  return failures == 0 ? 0 : 1;
}
