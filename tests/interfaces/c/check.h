// Checks for tests in plain C: a failed one is told and counted, and the test goes on.
#ifndef OPHIS_TESTS_CHECK_H
#define OPHIS_TESTS_CHECK_H

#include <ophis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) {                                              \
      printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                    \
    }                                                                \
  } while (0)

/// The call returns OPHIS_OK.
#define CHECK_OK(call)                                                                                    \
  do {                                                                                                    \
    const ophis_status check_status = (call);                                                             \
    if (check_status != OPHIS_OK) {                                                                       \
      printf("%s:%d: %s: %s\n", __FILE__, __LINE__, ophis_status_name(check_status), ophis_last_error()); \
      ++failures;                                                                                         \
    }                                                                                                     \
  } while (0)

/// The call returns `status`, and ophis_last_error() says `text`.
#define CHECK_FAILS(status, text, call)                                                                    \
  do {                                                                                                     \
    const ophis_status check_status = (call);                                                              \
    if (check_status != (status) || strstr(ophis_last_error(), (text)) == NULL) {                          \
      printf("%s:%d: wanted %s '%s', got %s: %s\n", __FILE__, __LINE__, ophis_status_name(status), (text), \
             ophis_status_name(check_status), ophis_last_error());                                         \
      ++failures;                                                                                          \
    }                                                                                                      \
  } while (0)

/// A dense tensor on the CPU.
static inline ophis_tensor cpu_tensor(void* data, uint8_t code, uint8_t bits, int32_t ndim,
                                      const int64_t* shape) {
  ophis_tensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.data = data;
  tensor.device.device_type = OPHIS_DEVICE_CPU;
  tensor.ndim = ndim;
  tensor.dtype.code = code;
  tensor.dtype.bits = bits;
  tensor.dtype.lanes = 1;
  tensor.shape = shape;
  return tensor;
}
static inline ophis_tensor floats(float* data, int32_t ndim, const int64_t* shape) {
  return cpu_tensor(data, OPHIS_CODE_FLOAT, 32, ndim, shape);
}

/// The device that tests run on: OPHIS_TEST_DEVICE, e.g. cuda, or the CPU.
static inline ophis_device test_device(void) {
  const char* const name = getenv("OPHIS_TEST_DEVICE");
  ophis_device device = {OPHIS_DEVICE_CPU, 0};
  if (name != NULL) CHECK_OK(ophis_device_parse(name, &device));
  return device;
}

/// A dense copy on another device. Give it back by ophis_tensor_destroy.
static inline ophis_tensor* copy_to(ophis_context* context, const ophis_tensor* from, ophis_device device) {
  ophis_tensor* copied = NULL;
  CHECK_OK(ophis_tensor_create(device, from->dtype, from->ndim, from->shape, &copied));
  CHECK_OK(ophis_copy(context, from, copied));
  CHECK_OK(ophis_context_synchronize(context));
  return copied;
}

#endif
