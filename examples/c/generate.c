// Loads a model, prints its most probable next token after a text, and continues the text: generate FOLDER
// [PROMPT [NEW_TOKENS]]
#include <ophis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(ophis_status status) {
  if (status == OPHIS_OK) return;
  fprintf(stderr, "%s: %s\n", ophis_status_name(status), ophis_last_error());
  exit(1);
}

/// Prints what is complete with one more token.
static int32_t print_token(void* decoder, int64_t sequence, int32_t id) {
  char* text;
  (void)sequence;
  check(ophis_stream_decoder_push(decoder, id, &text));
  fputs(text, stdout);
  fflush(stdout);
  ophis_free(text);
  return 1;  // go on
}

/// Prints the most probable token after the ids and its logit.
static void print_next(const ophis_model* model, ophis_context* context, int32_t* ids, int64_t num_ids) {
  const ophis_device cpu = {OPHIS_DEVICE_CPU, 0};
  const ophis_dtype int32 = {OPHIS_CODE_INT, 32, 1};
  const int64_t shape[] = {1, num_ids};
  const ophis_tensor input = {ids, cpu, 2, int32, shape, NULL, 0};
  ophis_forward_args args;
  ophis_output* output;
  const ophis_tensor* logits;
  check(ophis_forward_args_init(&args, sizeof args));
  args.input_ids = &input;
  args.logits_to_keep = 1;
  check(ophis_model_forward(model, context, &args, &output));
  check(ophis_output_logits(output, &logits));  // (1, 1, vocab_size) float32
  const float* const values = logits->data;
  int best = 0;
  for (int id = 1; id < logits->shape[2]; ++id) {
    if (values[id] > values[best]) best = id;
  }
  printf("most probable next: %d (%.4f)\n", best, (double)values[best]);
  ophis_output_destroy(output);
}

int main(int argc, char** argv) {
  const char* const folder = argc > 1 ? argv[1] : "examples/models/mamba2-tiny";
  const char* const prompt = argc > 2 ? argv[2] : "JULIET:";
  const ophis_device cpu = {OPHIS_DEVICE_CPU, 0};
  const ophis_dtype float32 = {OPHIS_CODE_FLOAT, 32, 1};

  ophis_context* context;
  ophis_model* model;
  ophis_tokenizer* tokenizer;
  ophis_stream_decoder* decoder;
  ophis_load_options load;
  check(ophis_context_create(cpu, NULL, &context));
  check(ophis_load_options_init(&load, sizeof load));
  load.dtype = float32;
  check(ophis_model_load(folder, &load, &model));
  check(ophis_tokenizer_load(folder, &tokenizer));
  check(ophis_stream_decoder_create(tokenizer, 1, &decoder));

  ophis_generation_options options;
  check(ophis_generation_options_init(&options, sizeof options));
  options.max_new_tokens = argc > 3 ? atoi(argv[3]) : 60;
  options.on_token = print_token;
  options.user_data = decoder;

  int32_t* prompt_ids;
  int64_t prompt_length, num_ids;
  check(ophis_tokenizer_encode(tokenizer, prompt, strlen(prompt), 1, &prompt_ids, &prompt_length));
  int32_t* const ids = malloc((size_t)options.max_new_tokens * sizeof *ids);
  if (ids == NULL) return 1;
  print_next(model, context, prompt_ids, prompt_length);
  for (int64_t i = 0; i < prompt_length; ++i) print_token(decoder, 0, prompt_ids[i]);
  const int32_t* const prompts[] = {prompt_ids};
  check(ophis_generate(model, context, prompts, &prompt_length, 1, &options, ids, &num_ids, NULL));
  char* rest;
  check(ophis_stream_decoder_flush(decoder, &rest));
  puts(rest);

  ophis_free(rest);
  free(ids);
  ophis_free(prompt_ids);
  ophis_stream_decoder_destroy(decoder);
  ophis_tokenizer_destroy(tokenizer);
  ophis_model_destroy(model);
  ophis_context_destroy(context);
  return 0;
}
