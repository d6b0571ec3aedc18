// Sums two numbers by an op.
#include <ophis.h>
#include <stdio.h>

int main(void) {
  float values[] = {1.0f, 2.0f};
  const int64_t shape[] = {2};
  const ophis_device cpu = {OPHIS_DEVICE_CPU, 0};
  const ophis_dtype float32 = {OPHIS_CODE_FLOAT, 32, 1};
  const ophis_tensor x = {values, cpu, 1, float32, shape, NULL, 0};
  ophis_context* context = NULL;
  ophis_cumsum_args args;
  if (ophis_version() != OPHIS_VERSION) return 1;
  if (ophis_context_create(cpu, NULL, &context) != OPHIS_OK) return 1;
  if (ophis_cumsum_args_init(&args, sizeof args) != OPHIS_OK) return 1;
  args.x = &x;
  args.out = &x;
  if (ophis_cumsum(context, &args) != OPHIS_OK) puts(ophis_last_error());
  ophis_context_destroy(context);
  printf("ophis %s: 1 + 2 = %g\n", ophis_version_string(), (double)values[1]);
  return values[1] == 3.0f ? 0 : 1;
}
