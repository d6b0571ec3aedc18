// Checks for tests in plain C: a failed one is told and counted, and the test goes on.
#ifndef OPHIS_TESTS_CHECK_H
#define OPHIS_TESTS_CHECK_H

#include <ophis.h>
#include <stdio.h>
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

#endif
