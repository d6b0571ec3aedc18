// Versions, devices, tensors and errors from C, with everything that a caller can get wrong.
#include <stdlib.h>

#include "check.h"

static ophis_context* context;

/// What `tensor` gives as the x of cumsum.
static ophis_status sum(const ophis_tensor* tensor) {
  ophis_cumsum_args args;
  CHECK_OK(ophis_cumsum_args_init(&args, sizeof args));
  args.x = tensor;
  args.out = tensor;
  return ophis_cumsum(context, &args);
}

static void test_versions(void) {
  CHECK(ophis_version() == OPHIS_VERSION);
  CHECK(strcmp(ophis_version_string(), "") != 0);
  CHECK(strcmp(ophis_status_name(OPHIS_OK), "ok") == 0);
  CHECK(strcmp(ophis_status_name(OPHIS_CANCELLED), "cancelled") == 0);
  CHECK(strcmp(ophis_status_name(99), "unknown") == 0);
  char* info = NULL;
  CHECK_OK(ophis_build_info(&info));
  CHECK(strstr(info, "\"implementations\"") != NULL && strstr(info, ophis_version_string()) != NULL);
  ophis_free(info);
  ophis_free(NULL);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ophis_build_info: json is NULL", ophis_build_info(NULL));
}

static void test_devices(void) {
  ophis_device device = {0, 0};
  CHECK_OK(ophis_device_parse("cpu", &device));
  CHECK(device.device_type == OPHIS_DEVICE_CPU && device.device_id == 0);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "unknown device 'tpu'", ophis_device_parse("tpu", &device));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "name is NULL", ophis_device_parse(NULL, &device));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "device is NULL", ophis_device_parse("cpu", NULL));
  CHECK_OK(ophis_device_check(device));
  device.device_id = -1;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "device_id is -1", ophis_device_check(device));
  device.device_type = 77;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "device_type is 77", ophis_device_check(device));
  device.device_type = OPHIS_DEVICE_CUDA;
  device.device_id = 100000;
  CHECK_FAILS(OPHIS_UNSUPPORTED, "cuda:100000 cannot be used", ophis_device_check(device));

  size_t count = 0;
  CHECK_OK(ophis_device_list(NULL, 0, &count));
  CHECK(count >= 1);
  CHECK_OK(ophis_device_list(&device, 1, &count));
  CHECK(device.device_type == OPHIS_DEVICE_CPU);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "devices is NULL", ophis_device_list(NULL, 1, &count));

  ophis_dtype dtype = {0, 0, 0};
  CHECK_OK(ophis_dtype_parse("bfloat16", &dtype));
  CHECK(dtype.code == OPHIS_CODE_BFLOAT && dtype.bits == 16 && dtype.lanes == 1);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "float8", ophis_dtype_parse("float8", &dtype));
}

static void test_contexts(void) {
  const ophis_device cpu = {OPHIS_DEVICE_CPU, 0};
  int stream = 0;
  ophis_context* other = NULL;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "context is NULL", ophis_context_create(cpu, NULL, NULL));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "the cpu has none", ophis_context_create(cpu, &stream, &other));
  CHECK(other == NULL);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "num_threads is -1", ophis_initialize(-1));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "context is NULL", ophis_context_synchronize(NULL));
  ophis_device device = {0, 7};
  CHECK_OK(ophis_context_device(context, &device));
  CHECK(device.device_type == OPHIS_DEVICE_CPU && device.device_id == 0);
  void* native_stream = &stream;
  CHECK_OK(ophis_context_native_stream(context, &native_stream));
  CHECK(native_stream == NULL);
  ophis_context_destroy(NULL);
}

static void test_structs(void) {
  float values[] = {1, 2};
  const int64_t shape[] = {2};
  const ophis_tensor x = floats(values, 1, shape);
  struct {
    ophis_cumsum_args known;
    int64_t later;
  } newer;
  CHECK_OK(ophis_cumsum_args_init(&newer.known, sizeof newer));
  CHECK(newer.known.size == sizeof newer && newer.later == 0);
  newer.known.x = &x;
  newer.known.out = &x;
  CHECK_OK(ophis_cumsum(context, &newer.known));
  CHECK(values[1] == 3);
  newer.later = 1;
  CHECK_FAILS(OPHIS_UNSUPPORTED, "older than its caller's header", ophis_cumsum(context, &newer.known));

  ophis_cumsum_args args;
  memset(&args, 0xff, sizeof args);
  CHECK_OK(ophis_cumsum_args_init(&args, offsetof(ophis_cumsum_args, axis)));
  CHECK(args.x == NULL && args.axis == -1 &&
        args.reverse == -1);  // as it was: nothing is written beyond the size
  args.x = &x;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ophis_cumsum: out must be given", ophis_cumsum(context, &args));
  CHECK_OK(ophis_cumsum_args_init(&args, sizeof args));
  args.x = &x;
  args.out = &x;
  args.size = 0;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "size is 0", ophis_cumsum(context, &args));
  args.size = (size_t)-1;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "size is 18446744073709551615", ophis_cumsum(context, &args));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "args is NULL", ophis_cumsum(context, NULL));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "args is NULL", ophis_cumsum_args_init(NULL, sizeof args));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "context is NULL", ophis_cumsum(NULL, &args));
}

static void test_layouts(void) {
  float values[] = {9, 1, 2, 3, 4};
  const int64_t shape[] = {2, 2}, column_major[] = {1, 2};
  ophis_tensor x = floats(values, 2, shape);
  x.byte_offset = sizeof(float);
  x.strides = column_major;
  CHECK_OK(sum(&x));
  CHECK(values[0] == 9 && values[1] == 1 && values[2] == 2 && values[3] == 4 && values[4] == 6);

  const ophis_tensor scalar = floats(values, 0, NULL);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ophis_cumsum", sum(&scalar));
  const int64_t none[] = {0, 5};
  const ophis_tensor empty = floats(NULL, 2, none);
  CHECK_OK(sum(&empty));
}

static void test_hostile_tensors(void) {
  float values[] = {1, 2, 3, 4};
  const int64_t shape[] = {2, 2, 1, 1, 1, 1, 1}, negative[] = {2, -1}, huge[] = {INT64_MAX, INT64_MAX};
  const int64_t far[] = {INT64_MAX, 1}, farther[] = {INT64_MIN, 1};
  const ophis_tensor good = floats(values, 2, shape);
  ophis_tensor x = good;
  CHECK_OK(sum(&x));

  x.ndim = 7;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ophis_cumsum: x: ndim is 7, but must be 0 to 6", sum(&x));
  x.ndim = -1;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ndim is -1", sum(&x));
  x = good;
  x.shape = NULL;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "shape is NULL, but ndim is 2", sum(&x));
  x.shape = negative;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "(2, -1) has a negative extent", sum(&x));
  x.shape = huge;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "has too many elements", sum(&x));
  x = good;
  x.strides = far;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "reaches beyond the address space", sum(&x));
  x.strides = farther;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "reaches beyond the address space", sum(&x));
  x = good;
  x.data = NULL;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "data is NULL", sum(&x));
  x = good;
  x.byte_offset = UINT64_MAX;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "byte_offset 18446744073709551615 reaches beyond", sum(&x));
  x.byte_offset = 2;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "no multiple of the 4 bytes of float32", sum(&x));
  x = good;
  x.dtype.lanes = 4;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "4 lanes", sum(&x));
  x.dtype.lanes = 1;
  x.dtype.code = 5;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "code 5, 32 bits", sum(&x));
  x = good;
  x.device.device_type = 0;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "device_type is 0", sum(&x));
  x.device.device_type = OPHIS_DEVICE_CUDA;
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "x is on device cuda:0, but the op runs on cpu", sum(&x));
  x.device.device_type = OPHIS_DEVICE_CUDA_HOST;
  CHECK_OK(sum(&x));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ophis_cumsum: x must be given", sum(NULL));
}

static void test_owned_tensors(void) {
  const ophis_device cpu = {OPHIS_DEVICE_CPU, 0};
  const ophis_dtype int64 = {OPHIS_CODE_INT, 64, 1};
  const int64_t shape[] = {3}, huge[] = {INT64_MAX / 256};
  int64_t values[] = {1, 2, 3};
  ophis_tensor* tensor = NULL;
  CHECK_OK(ophis_tensor_create(cpu, int64, 1, shape, &tensor));
  CHECK(tensor->ndim == 1 && tensor->shape[0] == 3 && tensor->strides[0] == 1 && tensor->byte_offset == 0);
  const ophis_tensor from = cpu_tensor(values, OPHIS_CODE_INT, 64, 1, shape);
  CHECK_OK(ophis_copy(context, &from, tensor));
  CHECK(((int64_t*)tensor->data)[2] == 3);
  ophis_tensor_destroy(tensor);
  ophis_tensor_destroy(NULL);
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "from is NULL", ophis_copy(context, NULL, &from));
  CHECK_FAILS(OPHIS_OUT_OF_MEMORY, "could not allocate", ophis_tensor_create(cpu, int64, 1, huge, &tensor));
  CHECK_FAILS(OPHIS_INVALID_ARGUMENT, "ndim is 9", ophis_tensor_create(cpu, int64, 9, shape, &tensor));
}

int main(void) {
  const ophis_device cpu = {OPHIS_DEVICE_CPU, 0};
  CHECK(strcmp(ophis_last_error(), "") == 0);
  CHECK_OK(ophis_context_create(cpu, NULL, &context));
  test_versions();
  test_devices();
  test_contexts();
  test_structs();
  test_layouts();
  test_hostile_tensors();
  test_owned_tensors();
  ophis_context_destroy(context);
  return failures == 0 ? 0 : 1;
}
