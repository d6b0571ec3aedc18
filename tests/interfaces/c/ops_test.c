// Every op from C, on numbers that can be worked out by hand; on the CPU, or the device that
// OPHIS_TEST_DEVICE names.
#include <math.h>

#include "check.h"

static ophis_context* context;

/// A constant array of extents, alive to the end of the enclosing block.
#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

/// Copies on the context's device of the tensors that a call takes.
static struct {
  const ophis_tensor* host;
  ophis_tensor* device;
} copies[16];
static int num_copies = 0;

/// What an op is given for a tensor of the host's: one copy, however often it is given.
static const ophis_tensor* given(const ophis_tensor* host) {
  for (int i = 0; i < num_copies; ++i) {
    if (copies[i].host == host) return copies[i].device;
  }
  copies[num_copies].host = host;
  copies[num_copies].device = copy_to(context, host, test_device());
  return copies[num_copies++].device;
}

/// Calls an op, and brings the copies of its tensors back.
#define RUN(op, args)                                                  \
  do {                                                                 \
    CHECK_OK(op(context, args));                                       \
    for (int i = 0; i < num_copies; ++i) {                             \
      CHECK_OK(ophis_copy(context, copies[i].device, copies[i].host)); \
    }                                                                  \
    CHECK_OK(ophis_context_synchronize(context));                      \
  } while (0)

static void drop_copies(void) {
  while (num_copies > 0) ophis_tensor_destroy(copies[--num_copies].device);
}

static void check_values(int line, const float* got, const float* want, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (fabsf(got[i] - want[i]) <= 1e-6f * (1.0f + fabsf(want[i]))) continue;
    printf("%s:%d: element %d is %g, wanted %g\n", __FILE__, line, (int)i, (double)got[i], (double)want[i]);
    ++failures;
  }
}
#define CHECK_VALUES(got, ...)                                         \
  do {                                                                 \
    const float want[] = {__VA_ARGS__};                                \
    check_values(__LINE__, (got), want, sizeof want / sizeof want[0]); \
  } while (0)

static float softplus(float x) { return log1pf(expf(x)); }
static float silu(float x) { return x / (1.0f + expf(-x)); }

static void test_activation(void) {
  float in[] = {-1, 2}, result[2] = {NAN, NAN};
  const ophis_tensor x = floats(in, 1, SHAPE(2)), out = floats(result, 1, SHAPE(2));
  ophis_activation_args args;
  CHECK_OK(ophis_activation_args_init(&args, sizeof args));
  args.x = given(&x);
  args.out = given(&out);
  RUN(ophis_activation, &args);
  CHECK_VALUES(result, -1, 2);
  args.kind = OPHIS_SILU;
  RUN(ophis_activation, &args);
  CHECK_VALUES(result, silu(-1), silu(2));
  args.kind = OPHIS_SOFTPLUS;
  RUN(ophis_activation, &args);
  CHECK_VALUES(result, softplus(-1), softplus(2));
  args.kind = 10;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ophis_activation: kind: it is 10", ophis_activation(context, &args));
}

static void test_argmax(void) {
  float in[] = {1, 3, 2, 9, 8, 7};
  int64_t result[2] = {-1, -1};
  const ophis_tensor x = floats(in, 2, SHAPE(2, 3));
  const ophis_tensor out = cpu_tensor(result, OPHIS_CODE_INT, 64, 1, SHAPE(2));
  ophis_argmax_args args;
  CHECK_OK(ophis_argmax_args_init(&args, sizeof args));
  args.x = given(&x);
  args.out = given(&out);
  RUN(ophis_argmax, &args);
  CHECK(result[0] == 1 && result[1] == 0);
}

static void test_causal_conv1d(void) {
  float in[] = {1, 2, 3}, taps[] = {10, 100}, shift[] = {5}, before[] = {7}, result[3], last[1];
  const ophis_tensor x = floats(in, 3, SHAPE(1, 3, 1)), weight = floats(taps, 2, SHAPE(1, 2));
  const ophis_tensor bias = floats(shift, 1, SHAPE(1)), initial = floats(before, 3, SHAPE(1, 1, 1));
  const ophis_tensor out = floats(result, 3, SHAPE(1, 3, 1)), final = floats(last, 3, SHAPE(1, 1, 1));
  ophis_causal_conv1d_args args;
  CHECK_OK(ophis_causal_conv1d_args_init(&args, sizeof args));
  args.x = given(&x);
  args.weight = given(&weight);
  args.bias = given(&bias);
  args.initial_states = given(&initial);
  args.out = given(&out);
  args.final_states = given(&final);
  RUN(ophis_causal_conv1d, &args);
  CHECK_VALUES(result, 175, 215, 325);
  CHECK_VALUES(last, 3);

  float memory[] = {7}, step[] = {1};
  const ophis_tensor now = floats(step, 2, SHAPE(1, 1)), state = floats(memory, 3, SHAPE(1, 1, 1));
  ophis_causal_conv1d_update_args update;
  CHECK_OK(ophis_causal_conv1d_update_args_init(&update, sizeof update));
  update.x = given(&now);
  update.conv_state = given(&state);
  update.weight = given(&weight);
  update.activation = OPHIS_RELU;
  update.out = given(&now);
  RUN(ophis_causal_conv1d_update, &update);
  CHECK_VALUES(step, 170);
  CHECK_VALUES(memory, 1);
}

static void test_cross_entropy(void) {
  float in[] = {0, 0, 1, 3}, result[2];
  int64_t wanted[] = {1, -100};
  const ophis_tensor logits = floats(in, 2, SHAPE(2, 2)), losses = floats(result, 1, SHAPE(2));
  const ophis_tensor labels = cpu_tensor(wanted, OPHIS_CODE_INT, 64, 1, SHAPE(2));
  ophis_cross_entropy_args args;
  CHECK_OK(ophis_cross_entropy_args_init(&args, sizeof args));
  CHECK(args.ignore_index == -100);
  args.logits = given(&logits);
  args.labels = given(&labels);
  args.losses = given(&losses);
  RUN(ophis_cross_entropy, &args);
  CHECK_VALUES(result, logf(2), 0);
}

static void test_cumsum(void) {
  float in[] = {1, 2, 3, 4}, result[4];
  const ophis_tensor x = floats(in, 2, SHAPE(2, 2)), out = floats(result, 2, SHAPE(2, 2));
  ophis_cumsum_args args;
  CHECK_OK(ophis_cumsum_args_init(&args, sizeof args));
  CHECK(args.axis == -1);
  args.x = given(&x);
  args.out = given(&out);
  RUN(ophis_cumsum, &args);
  CHECK_VALUES(result, 1, 3, 3, 7);
  args.axis = 0;
  args.reverse = 1;
  RUN(ophis_cumsum, &args);
  CHECK_VALUES(result, 4, 6, 3, 4);
  args.reverse = 2;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ophis_cumsum: reverse: it is 2, but must be 0 or 1",
              ophis_cumsum(context, &args));
}

static void test_embedding(void) {
  int32_t tokens[] = {2, 0};
  float table[] = {1, 2, 3, 4, 5, 6}, result[4];
  const ophis_tensor ids = cpu_tensor(tokens, OPHIS_CODE_INT, 32, 1, SHAPE(2));
  const ophis_tensor weight = floats(table, 2, SHAPE(3, 2)), out = floats(result, 2, SHAPE(2, 2));
  ophis_embedding_args args;
  CHECK_OK(ophis_embedding_args_init(&args, sizeof args));
  args.ids = given(&ids);
  args.weight = given(&weight);
  args.out = given(&out);
  RUN(ophis_embedding, &args);
  CHECK_VALUES(result, 5, 6, 1, 2);
  if (test_device().device_type != OPHIS_DEVICE_CPU) return;  // where ids are not looked at
  tokens[1] = 3;
  args.ids = &ids;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ophis_embedding: ids", ophis_embedding(context, &args));
}

static void test_quantized_linear(void) {
  float in[] = {1, 16, 256, 0, 0, 0, 0, 2}, scales[] = {0.5f, 2}, biases[] = {1, 0}, result[2];
  uint8_t bytes[] = {0x98, 0x70, 0x8f, 0xf8,
                     0x88, 0x88, 0x88, 0x08};  // 0, 1, -8, -1, 7, 0, 0, 7; zeros and -8
  const ophis_tensor x = floats(in, 2, SHAPE(1, 8)), scale = floats(scales, 2, SHAPE(2, 1));
  const ophis_tensor weight = cpu_tensor(bytes, OPHIS_CODE_UINT, 8, 2, SHAPE(2, 4));
  const ophis_tensor bias = floats(biases, 1, SHAPE(2)), out = floats(result, 2, SHAPE(1, 2));
  ophis_quantized_linear_args args;
  CHECK_OK(ophis_quantized_linear_args_init(&args, sizeof args));
  args.x = given(&x);
  args.weight = given(&weight);
  args.weight_scale = given(&scale);
  args.bias = given(&bias);
  args.out = given(&out);
  RUN(ophis_quantized_linear, &args);
  CHECK_VALUES(result, 0.5f * (16 - 8 * 256 + 14) + 1, 2 * -16);
  args.weight_scale = NULL;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "weight_scale must be given", ophis_quantized_linear(context, &args));
}

static void test_norms(void) {
  float in[] = {3, 5}, scale[] = {2, 10}, added[] = {1, -1}, sum[2], result[2];
  const ophis_tensor x = floats(in, 2, SHAPE(1, 2)), weight = floats(scale, 1, SHAPE(2));
  const ophis_tensor residual = floats(added, 2, SHAPE(1, 2)), residual_out = floats(sum, 2, SHAPE(1, 2));
  const ophis_tensor out = floats(result, 2, SHAPE(1, 2));
  ophis_layer_norm_args layer;
  CHECK_OK(ophis_layer_norm_args_init(&layer, sizeof layer));
  CHECK(layer.eps == 1e-5);
  layer.x = given(&x);
  layer.weight = given(&weight);
  layer.eps = 0;
  layer.out = given(&out);
  RUN(ophis_layer_norm, &layer);
  CHECK_VALUES(result, -2, 10);

  ophis_rms_norm_args rms;
  CHECK_OK(ophis_rms_norm_args_init(&rms, sizeof rms));
  rms.x = given(&x);
  rms.weight = given(&weight);
  rms.residual = given(&residual);
  rms.residual_out = given(&residual_out);
  rms.eps = 0;
  rms.out = given(&out);
  RUN(ophis_rms_norm, &rms);
  CHECK_VALUES(sum, 4, 4);
  CHECK_VALUES(result, 2, 10);
  rms.group_size = 3;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "group_size", ophis_rms_norm(context, &rms));
}

static void test_linear(void) {
  float in[] = {1, 2}, matrix[] = {1, 10, 100, 1000, 0, 1}, shift[] = {0, 0, 5}, result[3];
  const ophis_tensor x = floats(in, 2, SHAPE(1, 2)), weight = floats(matrix, 2, SHAPE(3, 2));
  const ophis_tensor bias = floats(shift, 1, SHAPE(3)), out = floats(result, 2, SHAPE(1, 3));
  ophis_linear_args args;
  CHECK_OK(ophis_linear_args_init(&args, sizeof args));
  args.x = given(&x);
  args.weight = given(&weight);
  args.bias = given(&bias);
  args.out = given(&out);
  RUN(ophis_linear, &args);
  CHECK_VALUES(result, 21, 2100, 7);
}

static void test_mask_positions(void) {
  float in[] = {1, 2}, result[2];
  int64_t kept[] = {0, 1};
  const ophis_tensor x = floats(in, 3, SHAPE(1, 2, 1)), out = floats(result, 3, SHAPE(1, 2, 1));
  const ophis_tensor mask = cpu_tensor(kept, OPHIS_CODE_INT, 64, 2, SHAPE(1, 2));
  ophis_mask_positions_args args;
  CHECK_OK(ophis_mask_positions_args_init(&args, sizeof args));
  args.x = given(&x);
  args.mask = given(&mask);
  args.out = given(&out);
  RUN(ophis_mask_positions, &args);
  CHECK_VALUES(result, 0, 2);
}

/// Greedy with penalties, then among two tokens by top-k.
static void test_sample(void) {
  float in[] = {1, 3, 2, 0}, no_heat[] = {0}, heat[] = {1}, halves[] = {2}, much[] = {0.5f};
  int32_t in_prompt[] = {0, 1, 0, 0}, drawn[] = {0, 0, 1, 0};
  int64_t kept[] = {2}, where[] = {7}, result[] = {-1};
  const ophis_tensor logits = floats(in, 2, SHAPE(1, 4)),
                     out = cpu_tensor(result, OPHIS_CODE_INT, 64, 1, SHAPE(1));
  const ophis_tensor temperature = floats(no_heat, 1, SHAPE(1)), warm = floats(heat, 1, SHAPE(1));
  const ophis_tensor repetition = floats(halves, 1, SHAPE(1)), presence = floats(much, 1, SHAPE(1));
  const ophis_tensor prompt_counts = cpu_tensor(in_prompt, OPHIS_CODE_INT, 32, 2, SHAPE(1, 4));
  const ophis_tensor counts = cpu_tensor(drawn, OPHIS_CODE_INT, 32, 2, SHAPE(1, 4));
  const ophis_tensor top_k = cpu_tensor(kept, OPHIS_CODE_INT, 64, 1, SHAPE(1));
  const ophis_tensor position = cpu_tensor(where, OPHIS_CODE_INT, 64, 1, SHAPE(1));
  ophis_sample_args args;
  CHECK_OK(ophis_sample_args_init(&args, sizeof args));
  args.logits = given(&logits);
  args.temperature = given(&temperature);
  args.repetition_penalty = given(&repetition);
  args.presence_penalty = given(&presence);
  args.prompt_counts = given(&prompt_counts);
  args.counts = given(&counts);
  args.position = given(&position);
  args.out = given(&out);
  RUN(ophis_sample, &args);  // of 1, 1.5, 0.5 and 0
  CHECK(result[0] == 1 && drawn[1] == 1 && where[0] == 8);

  CHECK_OK(ophis_sample_args_init(&args, sizeof args));
  args.logits = given(&logits);
  args.temperature = given(&warm);
  args.top_k = given(&top_k);
  args.position = given(&position);
  args.out = given(&out);
  int times[4] = {0, 0, 0, 0};
  for (int i = 0; i < 100; ++i) {
    RUN(ophis_sample, &args);
    ++times[result[0]];
  }
  CHECK(times[1] > times[2] && times[2] > 0 && times[1] + times[2] == 100 && where[0] == 108);
}

static void test_softmax(void) {
  float in[] = {0, 0, 0, INFINITY}, result[2];
  const ophis_tensor x = floats(in, 2, SHAPE(1, 2)), out = floats(result, 2, SHAPE(1, 2));
  ophis_softmax_args args;
  CHECK_OK(ophis_softmax_args_init(&args, sizeof args));
  args.x = given(&x);
  args.out = given(&out);
  RUN(ophis_softmax, &args);
  CHECK_VALUES(result, 0.5f, 0.5f);
  args.log = 1;
  RUN(ophis_softmax, &args);
  CHECK_VALUES(result, -logf(2), -logf(2));
}

/// Two steps of one channel with one state, and then a third by the update.
static void test_selective_scan(void) {
  float u_values[] = {1, 2}, delta_values[] = {0.5f, 0.25f}, A_values[] = {-1}, B_values[] = {3, 4};
  float C_values[] = {1, 2}, D_values[] = {10}, result[2], state_values[1];
  const ophis_tensor u = floats(u_values, 3, SHAPE(1, 2, 1)), delta = floats(delta_values, 3, SHAPE(1, 2, 1));
  const ophis_tensor A = floats(A_values, 2, SHAPE(1, 1)), B = floats(B_values, 4, SHAPE(1, 2, 1, 1));
  const ophis_tensor C = floats(C_values, 4, SHAPE(1, 2, 1, 1)), D = floats(D_values, 1, SHAPE(1));
  const ophis_tensor out = floats(result, 3, SHAPE(1, 2, 1)),
                     states = floats(state_values, 3, SHAPE(1, 1, 1));
  ophis_selective_scan_args args;
  CHECK_OK(ophis_selective_scan_args_init(&args, sizeof args));
  args.u = given(&u);
  args.delta = given(&delta);
  args.A = given(&A);
  args.B = given(&B);
  args.C = given(&C);
  args.D = given(&D);
  args.out = given(&out);
  args.final_states = given(&states);
  RUN(ophis_selective_scan, &args);
  const float h0 = 0.5f * 3 * 1, h1 = expf(-0.25f) * h0 + 0.25f * 4 * 2;
  CHECK_VALUES(result, h0 + 10, 2 * h1 + 20);
  CHECK_VALUES(state_values, h1);

  float x_value[] = {1}, dt_value[] = {0.5f}, B_value[] = {2}, C_value[] = {1}, y[1];
  const ophis_tensor x = floats(x_value, 2, SHAPE(1, 1)), dt = floats(dt_value, 2, SHAPE(1, 1));
  const ophis_tensor B_now = floats(B_value, 3, SHAPE(1, 1, 1)), C_now = floats(C_value, 3, SHAPE(1, 1, 1));
  const ophis_tensor y_tensor = floats(y, 2, SHAPE(1, 1));
  ophis_selective_state_update_args update;
  CHECK_OK(ophis_selective_state_update_args_init(&update, sizeof update));
  update.state = given(&states);
  update.x = given(&x);
  update.dt = given(&dt);
  update.A = given(&A);
  update.B = given(&B_now);
  update.C = given(&C_now);
  update.dt_softplus = 1;
  update.out = given(&y_tensor);
  RUN(ophis_selective_state_update, &update);
  const float step = softplus(0.5f), h2 = expf(-step) * h1 + step * 2;
  CHECK_VALUES(y, h2);
  CHECK_VALUES(state_values, h2);
}

static void test_ssd_scan(void) {
  float x_values[] = {1, 2}, dt_values[] = {0.5f, 8}, A_values[] = {-1}, B_values[] = {3, 4};
  float C_values[] = {1, 2}, z_values[] = {1, -1}, result[2], state_values[1];
  const ophis_tensor x = floats(x_values, 4, SHAPE(1, 2, 1, 1)), dt = floats(dt_values, 3, SHAPE(1, 2, 1));
  const ophis_tensor A = floats(A_values, 1, SHAPE(1)), B = floats(B_values, 4, SHAPE(1, 2, 1, 1));
  const ophis_tensor C = floats(C_values, 4, SHAPE(1, 2, 1, 1)), z = floats(z_values, 4, SHAPE(1, 2, 1, 1));
  const ophis_tensor out = floats(result, 4, SHAPE(1, 2, 1, 1));
  const ophis_tensor states = floats(state_values, 4, SHAPE(1, 1, 1, 1));
  ophis_ssd_scan_args args;
  CHECK_OK(ophis_ssd_scan_args_init(&args, sizeof args));
  CHECK(args.dt_min == 0 && isinf(args.dt_max) && args.chunk_size == 256);
  args.x = given(&x);
  args.dt = given(&dt);
  args.A = given(&A);
  args.B = given(&B);
  args.C = given(&C);
  args.z = given(&z);
  args.dt_max = 0.75;
  args.out = given(&out);
  args.final_states = given(&states);
  RUN(ophis_ssd_scan, &args);
  const float h0 = 0.5f * 3 * 1, h1 = expf(-0.75f) * h0 + 0.75f * 4 * 2;
  CHECK_VALUES(result, h0 * silu(1), 2 * h1 * silu(-1));
  CHECK_VALUES(state_values, h1);

  float x_value[] = {1}, dt_value[] = {0.5f}, B_value[] = {2}, C_value[] = {1}, y[1];
  const ophis_tensor x_now = floats(x_value, 3, SHAPE(1, 1, 1)), dt_now = floats(dt_value, 2, SHAPE(1, 1));
  const ophis_tensor B_now = floats(B_value, 3, SHAPE(1, 1, 1)), C_now = floats(C_value, 3, SHAPE(1, 1, 1));
  const ophis_tensor y_tensor = floats(y, 3, SHAPE(1, 1, 1));
  ophis_ssd_state_update_args update;
  CHECK_OK(ophis_ssd_state_update_args_init(&update, sizeof update));
  update.state = given(&states);
  update.x = given(&x_now);
  update.dt = given(&dt_now);
  update.A = given(&A);
  update.B = given(&B_now);
  update.C = given(&C_now);
  update.out = given(&y_tensor);
  RUN(ophis_ssd_state_update, &update);
  const float h2 = expf(-0.5f) * h1 + 0.5f * 2;
  CHECK_VALUES(y, h2);
  CHECK_VALUES(state_values, h2);
}

int main(void) {
  void (*const tests[])(void) = {
      test_activation, test_argmax,         test_causal_conv1d, test_cross_entropy,   test_cumsum,
      test_embedding,  test_norms,          test_linear,        test_mask_positions,  test_sample,
      test_softmax,    test_selective_scan, test_ssd_scan,      test_quantized_linear};
  CHECK_OK(ophis_context_create(test_device(), NULL, &context));
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; ++i) {
    tests[i]();
    drop_copies();
  }
  ophis_context_destroy(context);
  return failures == 0 ? 0 : 1;
}
