// Ophis' C interface: operations and language models of the Mamba family, for every language that can call
// C. docs/c-api.md is the guide.
//
// Status. Every function that can fail returns an ophis_status; ophis_last_error() tells the reason. A call
// that fails writes no result through its output pointers, but the tensors that an op was to write may then
// hold anything.
//
// Handles. ophis_context, ophis_model, ... are made by functions that write them through their last parameter
// and given back by the matching _destroy function, which takes NULL too.
//
// Structs that start with `size` may grow at their end in later versions. Set size to sizeof of the struct,
// as the _init functions do; what an older caller does not have counts as zero.
//
// Flags are int32_t, 0 or 1. Pointers marked "or NULL" may be NULL, others must not. Text is UTF-8.
//
// Threads. A context, cache, output or stream decoder is used by one thread at a time. Everything else may be
// used by several threads at once, each with its own contexts. C++ exceptions never cross; callbacks must
// return, not throw or longjmp.
//
// GPUs. Ops and copies are queued on the context's stream and return before they are done: the memory of
// their tensors must stay until then. Errors of queued work show in ophis_context_synchronize.
#ifndef OPHIS_H
#define OPHIS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define OPHIS_API __attribute__((visibility("default")))
#else
#define OPHIS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// ----------------------------------------------------------------------------------------------------
// Version and errors

/// The version of this header; ophis_version() is that of the library.
#define OPHIS_VERSION_MAJOR 0
#define OPHIS_VERSION_MINOR 1  ///< of the same version
#define OPHIS_VERSION_PATCH 0  ///< of the same version
/// 10000 major + 100 minor + patch.
#define OPHIS_VERSION (OPHIS_VERSION_MAJOR * 10000 + OPHIS_VERSION_MINOR * 100 + OPHIS_VERSION_PATCH)

/// 10000 major + 100 minor + patch.
OPHIS_API int32_t ophis_version(void);
/// "0.1.0"
OPHIS_API const char* ophis_version_string(void);

/// OPHIS_OK, or why a call failed.
typedef int32_t ophis_status;
enum {
  OPHIS_OK = 0,
  OPHIS_INVALID_ARGUMENT = 1,  ///< a value, shape, dtype or flag that the function does not take
  OPHIS_UNSUPPORTED = 2,       ///< valid, but this build or device cannot do it
  OPHIS_NOT_FOUND = 3,         ///< a file, tensor or key that should be there is not
  OPHIS_CORRUPT_DATA = 4,      ///< a file whose content contradicts its format
  OPHIS_IO = 5,                ///< the operating system refused to read or write
  OPHIS_OUT_OF_MEMORY = 6,     ///< an allocation failed
  OPHIS_INTERNAL = 7,          ///< a broken invariant: a bug in Ophis
  OPHIS_CANCELLED = 8          ///< a callback asked to stop
};

/// "ok", "invalid_argument", ...; "unknown" for a number that is no status.
OPHIS_API const char* ophis_status_name(ophis_status status);

/// What the last call that failed in this thread says: the function, the argument, what came and what was
/// wanted. Empty if none has failed. Valid until the next call that fails in this thread.
OPHIS_API const char* ophis_last_error(void);

/// Frees text or ids that a function has allocated for the caller. NULL is taken.
OPHIS_API void ophis_free(void* memory);

// ----------------------------------------------------------------------------------------------------
// Devices and tensors

/// Equal to DLPack's DLDevice.
typedef struct ophis_device {
  int32_t device_type;  ///< one of OPHIS_DEVICE_...
  int32_t device_id;    ///< its number; 0 for the CPU
} ophis_device;

/// As in DLPack's DLDeviceType.
enum {
  OPHIS_DEVICE_CPU = 1,
  OPHIS_DEVICE_CUDA = 2,
  OPHIS_DEVICE_CUDA_HOST = 3,  ///< page-locked memory of the host; counts as the CPU
  OPHIS_DEVICE_ROCM = 10
};

/// Equal to DLPack's DLDataType.
typedef struct ophis_dtype {
  uint8_t code;    ///< one of OPHIS_CODE_...
  uint8_t bits;    ///< of one element
  uint16_t lanes;  ///< 1
} ophis_dtype;

/// As in DLPack's DLDataTypeCode. With bits: INT 8, 16, 32, 64; UINT 8; FLOAT 16, 32, 64; BFLOAT 16; BOOL 8.
/// "Any compute dtype" below is float32, bfloat16 or float16.
enum {
  OPHIS_CODE_INT = 0,
  OPHIS_CODE_UINT = 1,
  OPHIS_CODE_FLOAT = 2,
  OPHIS_CODE_BFLOAT = 4,
  OPHIS_CODE_BOOL = 6
};

/// A strided view of the caller's memory, equal in layout to DLPack's DLTensor: a DLTensor* may be cast to
/// ophis_tensor*. At most six axes. Nothing is copied or kept beyond a call and the work that it queues.
typedef struct ophis_tensor {
  void* data;              ///< on a GPU a device pointer; may be NULL if there are no elements
  ophis_device device;     ///< where data is
  int32_t ndim;            ///< number of axes
  ophis_dtype dtype;       ///< of the elements
  const int64_t* shape;    ///< (ndim)
  const int64_t* strides;  ///< (ndim) in elements, or NULL: dense, the last axis fastest
  uint64_t byte_offset;    ///< the first element is at data + byte_offset
} ophis_tensor;

/// "cpu", "cuda", "cuda:1".
OPHIS_API ophis_status ophis_device_parse(const char* name, ophis_device* device);

/// OPHIS_OK if the device can be used, else OPHIS_UNSUPPORTED; ophis_last_error() says why.
OPHIS_API ophis_status ophis_device_check(ophis_device device);

/// Writes the first `capacity` devices that can be used, the CPU first, and the number of all to count.
OPHIS_API ophis_status ophis_device_list(ophis_device* devices, size_t capacity, size_t* count);

/// "float32", "bfloat16", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "boolean".
OPHIS_API ophis_status ophis_dtype_parse(const char* name, ophis_dtype* dtype);

/// A dense uninitialised tensor of Ophis' own, for callers without an allocator for the device. On a GPU its
/// work must be done before it is destroyed.
OPHIS_API ophis_status ophis_tensor_create(ophis_device device, ophis_dtype dtype, int32_t ndim,
                                           const int64_t* shape, ophis_tensor** tensor);
/// Only for tensors made by ophis_tensor_create.
OPHIS_API void ophis_tensor_destroy(ophis_tensor* tensor);

// ----------------------------------------------------------------------------------------------------
// Contexts

/// A device, an in-order queue of work on it (for a GPU, a stream) and scratch memory.
typedef struct ophis_context ophis_context;

/// Sets the number of CPU threads of the process before the first context, or ophis_build_info, does it;
/// later calls have no effect. 0: as OMP_NUM_THREADS and the affinity mask allow.
OPHIS_API ophis_status ophis_initialize(int32_t num_threads);

/// `native_stream` is a cudaStream_t of the caller's, which must outlive the context, or NULL: a stream of
/// the context's own, and on the CPU always. CUDA's default stream, whose handle is NULL too, is (void*)1
/// (cudaStreamLegacy); it takes ops, but not ophis_generate, which records CUDA graphs. Two contexts are not
/// ordered against each other.
OPHIS_API ophis_status ophis_context_create(ophis_device device, void* native_stream,
                                            ophis_context** context);
/// Waits for the context's work.
OPHIS_API void ophis_context_destroy(ophis_context* context);

/// Waits until all work given to the context is done; fails with OPHIS_INTERNAL if some of it did.
OPHIS_API ophis_status ophis_context_synchronize(ophis_context* context);
/// Where its ops run.
OPHIS_API ophis_status ophis_context_device(const ophis_context* context, ophis_device* device);
/// The cudaStream_t of a context on a GPU, NULL on the CPU.
OPHIS_API ophis_status ophis_context_native_stream(const ophis_context* context, void** native_stream);

/// Copies the elements of `from` to `to`: same shape and dtype, each on the CPU or on the context's device,
/// both dense; on the CPU `from` may have any strides. On a GPU the copy is queued like an op.
OPHIS_API ophis_status ophis_copy(ophis_context* context, const ophis_tensor* from, const ophis_tensor* to);

/// What this build is and can use, as JSON: version, backend, compiler, cpu_arch, cpu_isa, gpu_archs, onednn,
/// threads, devices, implementations (an object: per op its implementations, fastest first). Free it by
/// ophis_free.
OPHIS_API ophis_status ophis_build_info(char** json);

// ----------------------------------------------------------------------------------------------------
// Ops
//
// Each has a struct of arguments, mirroring the C++ interface, an _init function that writes size and the
// defaults (all tensors NULL: not given) for a struct of `size` bytes, and a function that checks the
// arguments and queues the work. T is any one compute dtype; tensors have any strides unless said otherwise,
// lie on the context's device and must not overlap outputs but where it is said. Every op has a page in
// docs/ops. associative_scan, which runs a functor of the caller's, is for C++ only; ophis_cumsum is its sum.

/// Functions of one number.
typedef int32_t ophis_activation_kind;
enum {
  OPHIS_IDENTITY = 0,    ///< x
  OPHIS_SILU = 1,        ///< x / (1 + exp(-x))
  OPHIS_GELU = 2,        ///< x * Phi(x), Phi the cumulative distribution of the standard normal
  OPHIS_GELU_TANH = 3,   ///< x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
  OPHIS_QUICK_GELU = 4,  ///< x / (1 + exp(-1.702 x))
  OPHIS_RELU = 5,        ///< max(x, 0)
  OPHIS_RELU2 = 6,       ///< max(x, 0)^2
  OPHIS_SIGMOID = 7,     ///< 1 / (1 + exp(-x))
  OPHIS_TANH = 8,
  OPHIS_SOFTPLUS = 9  ///< log(1 + exp(x)); x itself above 20
};

/// out = kind(x)
typedef struct ophis_activation_args {
  size_t size;
  const ophis_tensor* x;       ///< T, one to six axes
  ophis_activation_kind kind;  ///< default OPHIS_IDENTITY
  const ophis_tensor* out;     ///< T, the shape of x; may be x
} ophis_activation_args;
OPHIS_API ophis_status ophis_activation_args_init(ophis_activation_args* args, size_t size);
OPHIS_API ophis_status ophis_activation(ophis_context* context, const ophis_activation_args* args);

/// out[i...] = the first j with x[i..., j] = max_k x[i..., k]. NaN counts as larger than every number.
typedef struct ophis_argmax_args {
  size_t size;
  const ophis_tensor* x;    ///< (rows..., n) T, n >= 1
  const ophis_tensor* out;  ///< (rows...) int64
} ophis_argmax_args;
OPHIS_API ophis_status ophis_argmax_args_init(ophis_argmax_args* args, size_t size);
OPHIS_API ophis_status ophis_argmax(ophis_context* context, const ophis_argmax_args* args);

/// out[b, l, d] = act(bias[d] + sum_k weight[d, k] * x[b, l - (width - 1) + k, d]). nseq is batch, or with
/// cu_seqlens the number of sequences.
typedef struct ophis_causal_conv1d_args {
  size_t size;
  const ophis_tensor* x;       ///< (batch, seqlen, dim) T
  const ophis_tensor* weight;  ///< (dim, width) any compute dtype; width >= 1
  const ophis_tensor* bias;    ///< (dim) any compute dtype, or NULL
  /// (nseq, dim, width - 1) T, the inputs before the first, oldest first; NULL: zeros
  const ophis_tensor* initial_states;
  /// (batch, seqlen) int32, or NULL: a tap of another sequence than its output's counts as zero,
  /// initial_states belong to the first; where it is negative (padding) out is zero
  const ophis_tensor* seq_idx;
  const ophis_tensor* cu_seqlens;    ///< (nseq + 1) int32, or NULL: the batch is 1, and sequence i is
                                     ///< [cu_seqlens[i], cu_seqlens[i + 1])
  ophis_activation_kind activation;  ///< default OPHIS_IDENTITY

  const ophis_tensor* out;           ///< (batch, seqlen, dim) T; must not overlap x
  const ophis_tensor* final_states;  ///< (nseq, dim, width - 1) T, the last width - 1 inputs, oldest first,
                                     ///< or NULL; may be the memory of initial_states
} ophis_causal_conv1d_args;
OPHIS_API ophis_status ophis_causal_conv1d_args_init(ophis_causal_conv1d_args* args, size_t size);
OPHIS_API ophis_status ophis_causal_conv1d(ophis_context* context, const ophis_causal_conv1d_args* args);

/// One step of the same convolution: computes out and shifts x into conv_state.
typedef struct ophis_causal_conv1d_update_args {
  size_t size;
  const ophis_tensor* x;           ///< (batch, dim) T
  const ophis_tensor* conv_state;  ///< (batch, dim, state_len) T, state_len >= width - 1: the latest inputs,
                                   ///< oldest first; in and out
  const ophis_tensor* weight;      ///< (dim, width) any compute dtype
  const ophis_tensor* bias;        ///< (dim) any compute dtype, or NULL
  ophis_activation_kind activation;  ///< default OPHIS_IDENTITY

  const ophis_tensor* out;  ///< (batch, dim) T; may be x
} ophis_causal_conv1d_update_args;
OPHIS_API ophis_status ophis_causal_conv1d_update_args_init(ophis_causal_conv1d_update_args* args,
                                                            size_t size);
OPHIS_API ophis_status ophis_causal_conv1d_update(ophis_context* context,
                                                  const ophis_causal_conv1d_update_args* args);

/// losses[i...] = -log softmax(logits[i..., :])[labels[i...]], and 0 where the label is ignore_index. On the
/// CPU a label outside [0, vocab) that is not ignore_index is an error.
typedef struct ophis_cross_entropy_args {
  size_t size;
  const ophis_tensor* logits;  ///< (rows..., vocab) T, vocab >= 1
  const ophis_tensor* labels;  ///< (rows...) int64
  int64_t ignore_index;        ///< default -100

  const ophis_tensor* losses;  ///< (rows...) float32, in nats
} ophis_cross_entropy_args;
OPHIS_API ophis_status ophis_cross_entropy_args_init(ophis_cross_entropy_args* args, size_t size);
OPHIS_API ophis_status ophis_cross_entropy(ophis_context* context, const ophis_cross_entropy_args* args);

/// out[..., l, ...] = sum_{j <= l} x[..., j, ...] along one axis (reverse: j >= l)
typedef struct ophis_cumsum_args {
  size_t size;
  const ophis_tensor* x;  ///< one to six axes; float32, bfloat16, float16, float64, int32 or int64
  int32_t axis;           ///< default -1; a negative axis counts from the end
  int32_t reverse;        ///< sum from the last position to the first

  const ophis_tensor* out;  ///< the shape of x, and its dtype (for int32 also int64); may be x
} ophis_cumsum_args;
OPHIS_API ophis_status ophis_cumsum_args_init(ophis_cumsum_args* args, size_t size);
OPHIS_API ophis_status ophis_cumsum(ophis_context* context, const ophis_cumsum_args* args);

/// out[i..., :] = weight[ids[i...], :], rounded to the dtype of out. On the CPU an id outside [0, vocab) is
/// an error.
typedef struct ophis_embedding_args {
  size_t size;
  const ophis_tensor* ids;     ///< (tokens...) int64 or int32, one to five axes
  const ophis_tensor* weight;  ///< (vocab, dim) any compute dtype

  const ophis_tensor* out;  ///< (tokens..., dim) any compute dtype

  const ophis_tensor*
      weight_scale;  ///< (vocab, groups) any compute dtype, or NULL: with it weight holds codes as
                     ///< those of ophis_quantized_linear_args, (vocab, dim * bits / 8) uint8
  const ophis_tensor* weight_shift;  ///< (vocab, groups) float32, or NULL
} ophis_embedding_args;
OPHIS_API ophis_status ophis_embedding_args_init(ophis_embedding_args* args, size_t size);
OPHIS_API ophis_status ophis_embedding(ophis_context* context, const ophis_embedding_args* args);

/// s = x + residual;  out = (s - mean(s)) / sqrt(mean((s - mean(s))^2) + eps) * weight + bias, the means
/// taken over a row.
typedef struct ophis_layer_norm_args {
  size_t size;
  const ophis_tensor* x;         ///< (rows..., dim) T or float32, dim >= 1, one to six axes
  const ophis_tensor* weight;    ///< (dim) any compute dtype, or NULL: ones
  const ophis_tensor* bias;      ///< (dim) any compute dtype, or NULL
  const ophis_tensor* residual;  ///< (rows..., dim) T or float32, or NULL
  double eps;                    ///< default 1e-5

  /// (rows..., dim) T or float32: s, or NULL; may be the memory of residual
  const ophis_tensor* residual_out;
  const ophis_tensor* out;  ///< (rows..., dim) T; may be an x of T
} ophis_layer_norm_args;
OPHIS_API ophis_status ophis_layer_norm_args_init(ophis_layer_norm_args* args, size_t size);
OPHIS_API ophis_status ophis_layer_norm(ophis_context* context, const ophis_layer_norm_args* args);

/// out[r, o] = bias[o] + sum_i x[r, i] * weight[o, i], summed in float32, added to what out holds with
/// accumulate
typedef struct ophis_linear_args {
  size_t size;
  const ophis_tensor* x;  ///< (rows..., in) T; the last axis dense; fastest if the rows are evenly spaced
  const ophis_tensor* weight;  ///< (out, in) T; the last axis dense
  const ophis_tensor* bias;    ///< (out) any compute dtype, or NULL
  int32_t weight_is_constant;  ///< the caller's word that no op still queued writes to weight: a GPU may then
                               ///< read it ahead of x
  int32_t accumulate;          ///< adds to what out holds

  const ophis_tensor* out;  ///< (rows..., out) T or float32; as x; must not overlap x
} ophis_linear_args;
OPHIS_API ophis_status ophis_linear_args_init(ophis_linear_args* args, size_t size);
OPHIS_API ophis_status ophis_linear(ophis_context* context, const ophis_linear_args* args);

/// out[b, l, :] = mask[b, l] != 0 ? x[b, l, :] : 0
typedef struct ophis_mask_positions_args {
  size_t size;
  const ophis_tensor* x;     ///< (batch, seqlen, dim) T
  const ophis_tensor* mask;  ///< (batch, seqlen) int64 or int32

  const ophis_tensor* out;  ///< (batch, seqlen, dim) T; may be x
} ophis_mask_positions_args;
OPHIS_API ophis_status ophis_mask_positions_args_init(ophis_mask_positions_args* args, size_t size);
OPHIS_API ophis_status ophis_mask_positions(ophis_context* context, const ophis_mask_positions_args* args);

/// What a step of generation does around a linear layer of a block: n = x / sqrt(mean(x^2) + eps) *
/// norm_weight;  out = n weight^T + bias, added to what out holds with accumulate. Of the outputs those from
/// conv_begin on, as many as conv_weight has channels, are the input of a step of the convolution and then
/// its output. n, or n but for the root, may be rounded to T.
typedef struct ophis_norm_linear_args {
  size_t size;
  const ophis_tensor* x;            ///< (rows..., in) T or float32; the last axis dense
  const ophis_tensor* norm_weight;  ///< (in) any compute dtype, or NULL: ones
  double eps;                       ///< default 1e-5
  const ophis_tensor* weight;       ///< (out, in) T; the last axis dense
  const ophis_tensor* bias;         ///< (out) any compute dtype, or NULL
  int32_t weight_is_constant;       ///< as in ophis_linear_args, of norm_weight, too
  int32_t accumulate;               ///< as in ophis_linear_args; not with a convolution
  const ophis_tensor* conv_state;   ///< (rows, conv_dim, state_len) T, state_len >= width - 1, in and out; or
                                    ///< NULL: no convolution. With it x is (rows, in)
  const ophis_tensor* conv_weight;  ///< (conv_dim, width) any compute dtype; given if conv_state is
  const ophis_tensor* conv_bias;    ///< (conv_dim) any compute dtype, or NULL
  ophis_activation_kind conv_activation;  ///< default OPHIS_IDENTITY
  int64_t conv_begin;                     ///< default 0

  const ophis_tensor* out;  ///< (rows..., out) T or, without convolution, float32; the last axis dense;
                            ///< must not overlap x

  const ophis_tensor* weight_scale;  ///< (out, groups), or NULL: with it weight holds the codes of a
                                     ///< quantized weight, as in ophis_quantized_linear_args
  const ophis_tensor* weight_shift;  ///< (out, groups), as there, or NULL
} ophis_norm_linear_args;
OPHIS_API ophis_status ophis_norm_linear_args_init(ophis_norm_linear_args* args, size_t size);
OPHIS_API ophis_status ophis_norm_linear(ophis_context* context, const ophis_norm_linear_args* args);

/// out[r, o] = bias[o] + sum_i x[r, i] * w[o, i], where
/// w[o, i] = weight_scale[o, g] * code[o, i] + weight_shift[o, g], with g the group of input i. A code has 8
/// bits, or 4: then two lie in a byte, the first in its low half. in is a multiple of 8, and so is the size
/// of a group, in / groups. With many rows w may be rounded to T.
typedef struct ophis_quantized_linear_args {
  size_t size;
  const ophis_tensor* x;  ///< (rows..., in) T; the last axis dense; fastest if the rows are evenly spaced
  const ophis_tensor* weight;        ///< (out, in * bits / 8) uint8: the codes; the last axis dense
  const ophis_tensor* weight_scale;  ///< (out, groups) any compute dtype; the last axis dense
  const ophis_tensor* weight_shift;  ///< as weight_scale, or NULL: -2^(bits - 1) * weight_scale
  const ophis_tensor* bias;          ///< (out) any compute dtype, or NULL
  int32_t weight_is_constant;        ///< as in ophis_linear_args, for all three tensors of the weight
  int32_t accumulate;                ///< as in ophis_linear_args

  const ophis_tensor* out;  ///< (rows..., out) T or float32; as x; must not overlap x
} ophis_quantized_linear_args;
OPHIS_API ophis_status ophis_quantized_linear_args_init(ophis_quantized_linear_args* args, size_t size);
OPHIS_API ophis_status ophis_quantized_linear(ophis_context* context,
                                              const ophis_quantized_linear_args* args);

/// s = x + residual;  out = s / sqrt(mean(s^2) + eps) * weight + bias, the mean taken over a row or over
/// groups of it. With z a gate, before the mean or after the norm: norm(s * silu(z)), or norm(s) * silu(z)
/// with norm_before_gate.
typedef struct ophis_rms_norm_args {
  size_t size;
  const ophis_tensor* x;         ///< (rows..., dim) T or float32, dim >= 1, one to six axes
  const ophis_tensor* weight;    ///< (dim) any compute dtype, or NULL: ones
  const ophis_tensor* bias;      ///< (dim) any compute dtype, or NULL
  const ophis_tensor* residual;  ///< (rows..., dim) T or float32, or NULL
  const ophis_tensor* z;         ///< (rows..., dim) T, the gate, or NULL
  double eps;                    ///< default 1e-5
  int32_t norm_before_gate;      ///< where z acts
  int64_t group_size;            ///< elements under one mean, a divisor of dim; 0, the default: the whole row

  /// (rows..., dim) T or float32: s, or NULL; may be the memory of residual
  const ophis_tensor* residual_out;
  const ophis_tensor* out;  ///< (rows..., dim) T; may be z, or an x of T
} ophis_rms_norm_args;
OPHIS_API ophis_status ophis_rms_norm_args_init(ophis_rms_norm_args* args, size_t size);
OPHIS_API ophis_status ophis_rms_norm(ophis_context* context, const ophis_rms_norm_args* args);

/// Draws the next token of each row. In this order: x = logits, divided by repetition_penalty if positive,
/// else multiplied by it, where prompt_counts + counts > 0; x = x - presence_penalty [counts > 0] -
/// frequency_penalty counts; p = exp((x - max x) / temperature); top_k, top_p and min_p filter, each what the
/// one before has left; out is drawn with probability p / sum p by Philox4x32-10 of seed, sequence, position
/// and token. A temperature of 0 takes the largest x. On the CPU settings that are out of range are an error.
typedef struct ophis_sample_args {
  size_t size;
  const ophis_tensor* logits;              ///< (batch, vocab) T, vocab >= 1
  const ophis_tensor* temperature;         ///< (batch) float32, >= 0, or NULL: 1
  const ophis_tensor* top_k;               ///< (batch) int64, or NULL: 0, which keeps all
  const ophis_tensor* top_p;               ///< (batch) float32 in (0, 1], or NULL: 1, which keeps all
  const ophis_tensor* min_p;               ///< (batch) float32 in [0, 1], or NULL: 0, which keeps all
  const ophis_tensor* repetition_penalty;  ///< (batch) float32, > 0, or NULL: 1
  const ophis_tensor* presence_penalty;    ///< (batch) float32, or NULL: 0
  const ophis_tensor* frequency_penalty;   ///< (batch) float32, or NULL: 0
  const ophis_tensor* prompt_counts;       ///< (batch, vocab) int32, or NULL: each token's in the prompt
  const ophis_tensor* seed;                ///< (batch) int64, or NULL: 0
  const ophis_tensor* sequence;            ///< (batch) int64, or NULL: 0; one of those drawn with one seed
  const ophis_tensor* position;            ///< (batch) int64, or NULL: 0; grows by 1
  const ophis_tensor* counts;  ///< (batch, vocab) int32, or NULL: how often a token was drawn; that of `out`
                               ///< grows by 1

  const ophis_tensor* out;  ///< (batch) int64
} ophis_sample_args;
OPHIS_API ophis_status ophis_sample_args_init(ophis_sample_args* args, size_t size);
OPHIS_API ophis_status ophis_sample(ophis_context* context, const ophis_sample_args* args);

/// The selective scan of Mamba-1. For every sequence and channel d, over time l, with g = d / (dim /
/// ngroups):
///
///     delta'   = softplus(delta[l, d] + delta_bias[d])        (softplus only with delta_softplus)
///     h[n]     = exp(delta' * A[d, n]) * h[n] + delta' * B[l, g, n] * u[l, d]
///     out[l,d] = (sum_n C[l, g, n] * h[n] + D[d] * u[l, d]) * silu(z[l, d])
///
/// A tensor that lies as (batch, dim, seqlen), or as (batch, ngroups, dstate, seqlen), is given as its
/// transposed view, by strides. nseq is batch, or with cu_seqlens the number of sequences; ngroups divides
/// dim.
typedef struct ophis_selective_scan_args {
  size_t size;
  const ophis_tensor* u;      ///< (batch, seqlen, dim) T
  const ophis_tensor* delta;  ///< (batch, seqlen, dim) T
  const ophis_tensor* A;      ///< (dim, dstate) any compute dtype; dstate >= 1
  /// (batch, seqlen, ngroups, dstate) T; or, constant in time, (dim, dstate) any compute dtype
  const ophis_tensor* B;
  const ophis_tensor* C;               ///< as B, which it need not follow
  const ophis_tensor* D;               ///< (dim) any compute dtype, or NULL
  const ophis_tensor* z;               ///< (batch, seqlen, dim) T, or NULL: no gate
  const ophis_tensor* delta_bias;      ///< (dim) any compute dtype, or NULL
  int32_t delta_softplus;              ///< delta passes through a softplus; default 0
  const ophis_tensor* initial_states;  ///< (nseq, dim, dstate) float32 or T, or NULL: zeros
  const ophis_tensor* cu_seqlens;      ///< (nseq + 1) int32, or NULL: the batch is 1, and sequence i is
                                       ///< [cu_seqlens[i], cu_seqlens[i + 1])

  const ophis_tensor* out;  ///< (batch, seqlen, dim) T; may be u, delta or z itself
  /// (nseq, dim, dstate) float32 or T, or NULL; may be initial_states itself
  const ophis_tensor* final_states;
} ophis_selective_scan_args;
OPHIS_API ophis_status ophis_selective_scan_args_init(ophis_selective_scan_args* args, size_t size);
OPHIS_API ophis_status ophis_selective_scan(ophis_context* context, const ophis_selective_scan_args* args);

/// One step of the same recurrence: advances state and computes out.
typedef struct ophis_selective_state_update_args {
  size_t size;
  const ophis_tensor* state;      ///< (batch, dim, dstate) float32 or T; in and out
  const ophis_tensor* x;          ///< (batch, dim) T, the scan's u
  const ophis_tensor* dt;         ///< (batch, dim) T, the scan's delta; with dt_weight (batch, dt_rank) T
  const ophis_tensor* A;          ///< (dim, dstate) any compute dtype; dstate >= 1
  const ophis_tensor* B;          ///< (batch, ngroups, dstate) T; or (dim, dstate) any compute dtype
  const ophis_tensor* C;          ///< as B
  const ophis_tensor* D;          ///< (dim) any compute dtype, or NULL
  const ophis_tensor* z;          ///< (batch, dim) T, or NULL
  const ophis_tensor* dt_bias;    ///< (dim) any compute dtype, or NULL
  const ophis_tensor* dt_weight;  ///< (dim, dt_rank) T, its last axis dense, or NULL: the deltas are dt
                                  ///< dt_weight^T, as ophis_linear computes them, perhaps rounded to T;
                                  ///< nothing still queued may write to it
  int32_t dt_softplus;            ///< dt passes through a softplus; default 0

  const ophis_tensor* out;  ///< (batch, dim) T; may be x, dt or z itself
} ophis_selective_state_update_args;
OPHIS_API ophis_status ophis_selective_state_update_args_init(ophis_selective_state_update_args* args,
                                                              size_t size);
OPHIS_API ophis_status ophis_selective_state_update(ophis_context* context,
                                                    const ophis_selective_state_update_args* args);

/// out[i] = exp(x[i] - m) / sum_j exp(x[j] - m) with m = max_j x[j], or its logarithm. -inf stands for
/// probability zero; a row that holds NaN, +inf or only -inf gives NaN.
typedef struct ophis_softmax_args {
  size_t size;
  const ophis_tensor* x;  ///< (rows..., n) T, n >= 1, one to six axes
  int32_t log;            ///< the logarithm

  const ophis_tensor* out;  ///< (rows..., n) T; may be x
} ophis_softmax_args;
OPHIS_API ophis_status ophis_softmax_args_init(ophis_softmax_args* args, size_t size);
OPHIS_API ophis_status ophis_softmax(ophis_context* context, const ophis_softmax_args* args);

/// The state-space duality (SSD) scan of Mamba-2. For every sequence, head h and element p of the head, with
/// g = h / (nheads / ngroups) and the state S (headdim, dstate) that starts as initial_states or zero:
///
///     dt'[l]    = clamp(softplus(dt[l, h] + dt_bias[h]), dt_min, dt_max)    (softplus only with dt_softplus)
///     S[p, n]   = exp(dt'[l] A[h]) S[p, n] + dt'[l] x[l, h, p] B[l, g, n]
///     out[l, p] = (sum_n C[l, g, n] S[p, n] + D[h, p] x[l, h, p]) silu(z[l, h, p])
///
/// nseq is batch, or with cu_seqlens the number of sequences. x, B and C may be slices of one tensor.
typedef struct ophis_ssd_scan_args {
  size_t size;
  const ophis_tensor* x;        ///< (batch, seqlen, nheads, headdim) T
  const ophis_tensor* dt;       ///< (batch, seqlen, nheads) T
  const ophis_tensor* A;        ///< (nheads) any compute dtype; usually negative
  const ophis_tensor* B;        ///< (batch, seqlen, ngroups, dstate) T; ngroups divides nheads
  const ophis_tensor* C;        ///< (batch, seqlen, ngroups, dstate) T
  const ophis_tensor* D;        ///< (nheads) or (nheads, headdim) any compute dtype, or NULL
  const ophis_tensor* z;        ///< (batch, seqlen, nheads, headdim) T, or NULL
  const ophis_tensor* dt_bias;  ///< (nheads) any compute dtype, or NULL
  int32_t dt_softplus;          ///< dt passes through a softplus; default 0
  double dt_min;                ///< default 0
  double dt_max;                ///< default infinity: bounds of dt after the softplus
  int64_t chunk_size;  ///< default 256; a hint, >= 1: positions that an implementation may handle together
  const ophis_tensor* initial_states;  ///< (nseq, nheads, headdim, dstate) float32 or T, or NULL: zeros
  /// (batch, seqlen) int32, or NULL: where it differs from the position before, the state starts again from
  /// zero; initial_states belong to the first sequence of a row
  const ophis_tensor* seq_idx;
  const ophis_tensor* cu_seqlens;  ///< (nseq + 1) int32, or NULL: the batch is 1, and sequence i is
                                   ///< [cu_seqlens[i], cu_seqlens[i + 1]); excludes seq_idx

  const ophis_tensor* out;           ///< (batch, seqlen, nheads, headdim) T; must not overlap an input
  const ophis_tensor* final_states;  ///< (nseq, nheads, headdim, dstate) float32 or T, or NULL; may be the
                                     ///< memory of initial_states
} ophis_ssd_scan_args;
OPHIS_API ophis_status ophis_ssd_scan_args_init(ophis_ssd_scan_args* args, size_t size);
OPHIS_API ophis_status ophis_ssd_scan(ophis_context* context, const ophis_ssd_scan_args* args);

/// One step of the same recurrence: computes out and advances state.
typedef struct ophis_ssd_state_update_args {
  size_t size;
  const ophis_tensor* state;    ///< (batch, nheads, headdim, dstate) float32 or T; in and out
  const ophis_tensor* x;        ///< (batch, nheads, headdim) T
  const ophis_tensor* dt;       ///< (batch, nheads) T
  const ophis_tensor* A;        ///< (nheads) any compute dtype
  const ophis_tensor* B;        ///< (batch, ngroups, dstate) T
  const ophis_tensor* C;        ///< (batch, ngroups, dstate) T
  const ophis_tensor* D;        ///< (nheads) or (nheads, headdim) any compute dtype, or NULL
  const ophis_tensor* z;        ///< (batch, nheads, headdim) T, or NULL
  const ophis_tensor* dt_bias;  ///< (nheads) any compute dtype, or NULL
  int32_t dt_softplus;          ///< dt passes through a softplus; default 0
  double dt_min;                ///< default 0
  double dt_max;                ///< default infinity

  const ophis_tensor* out;  ///< (batch, nheads, headdim) T; may be x or z
} ophis_ssd_state_update_args;
OPHIS_API ophis_status ophis_ssd_state_update_args_init(ophis_ssd_state_update_args* args, size_t size);
OPHIS_API ophis_status ophis_ssd_state_update(ophis_context* context,
                                              const ophis_ssd_state_update_args* args);

// ----------------------------------------------------------------------------------------------------
// Tokenizers
//
// Byte-level BPE as a Hugging Face tokenizer.json says. Everything may be called from several threads.

/// A tokenizer. It never changes: several threads may use one.
typedef struct ophis_tokenizer ophis_tokenizer;

/// Reads a tokenizer.json, the one in a folder, that of a GGUF file, or that of a model of the hub
/// ("owner/name", see ophis_model_load): `name` says which. Fails with OPHIS_NOT_FOUND, OPHIS_IO,
/// OPHIS_CORRUPT_DATA or, for a setting that is not implemented, OPHIS_UNSUPPORTED.
OPHIS_API ophis_status ophis_tokenizer_load(const char* name, ophis_tokenizer** tokenizer);
OPHIS_API void ophis_tokenizer_destroy(ophis_tokenizer* tokenizer);

/// The ids of `text_bytes` bytes of UTF-8, free them by ophis_free, and their number. With add_special_tokens
/// also the tokens that the file's post-processor puts before and after a text.
OPHIS_API ophis_status ophis_tokenizer_encode(const ophis_tokenizer* tokenizer, const char* text,
                                              size_t text_bytes, int32_t add_special_tokens, int32_t** ids,
                                              int64_t* num_ids);
/// The text of the ids, ended by a zero, which text_bytes (or NULL) does not count: free it by ophis_free. It
/// is valid UTF-8: bytes that form no character become U+FFFD. Ids that name no token give no text. With
/// skip_special the tokens that the file marks as special are left out.
OPHIS_API ophis_status ophis_tokenizer_decode(const ophis_tokenizer* tokenizer, const int32_t* ids,
                                              int64_t num_ids, int32_t skip_special, char** text,
                                              size_t* text_bytes);
/// The number of tokens, with the added ones. Ids may have gaps.
OPHIS_API ophis_status ophis_tokenizer_vocab_size(const ophis_tokenizer* tokenizer, int64_t* vocab_size);
/// The id of a token as the file spells it. Fails with OPHIS_NOT_FOUND.
OPHIS_API ophis_status ophis_tokenizer_token_to_id(const ophis_tokenizer* tokenizer, const char* token,
                                                   int32_t* id);
/// The spelling of a token in the file, ended by a zero: free it by ophis_free. Fails with OPHIS_NOT_FOUND.
OPHIS_API ophis_status ophis_tokenizer_id_to_token(const ophis_tokenizer* tokenizer, int32_t id,
                                                   char** token);

/// Decodes ids one at a time, for text that is shown while it is generated.
typedef struct ophis_stream_decoder ophis_stream_decoder;

/// The decoder may outlive the tokenizer.
OPHIS_API ophis_status ophis_stream_decoder_create(const ophis_tokenizer* tokenizer, int32_t skip_special,
                                                   ophis_stream_decoder** decoder);
OPHIS_API void ophis_stream_decoder_destroy(ophis_stream_decoder* decoder);
/// The text that is complete with this id, ended by a zero: free it by ophis_free. The bytes of an unfinished
/// character are held back.
OPHIS_API ophis_status ophis_stream_decoder_push(ophis_stream_decoder* decoder, int32_t id, char** text);
/// The text still held back; the decoder can then be used anew.
OPHIS_API ophis_status ophis_stream_decoder_flush(ophis_stream_decoder* decoder, char** text);

// ----------------------------------------------------------------------------------------------------
// Language models

/// A Mamba or Mamba-2 language model. It never changes: several threads may use one, each with contexts of
/// its own, which are on the model's device.
typedef struct ophis_model ophis_model;

/// Zero in every member is the default, and so is a NULL pointer to the struct.
typedef struct ophis_load_options {
  size_t size;
  ophis_device device;  ///< where the model computes; device_type 0: the CPU
  ophis_dtype dtype;    ///< of weights and activations, any compute dtype; bits 0: as config.json says
  /// Told the bytes read so far, of each file that is downloaded and then of the weights; returns 0 to stop,
  /// which fails with OPHIS_CANCELLED. Or NULL.
  int32_t (*progress)(void* user_data, uint64_t done_bytes, uint64_t total_bytes);
  void* user_data;  ///< given to the callback

  // Weights that the files hold dense can be quantized as they are read:
  int32_t projection_bits;  ///< of the blocks' projections: 8 or 4; 0: they stay as they are
  int32_t table_bits;       ///< of the head, and of the embedding where it is the same: 8 or 4, or 0
  int64_t group_size;       ///< inputs that share a scale, a multiple of 8; 0: 128; -1: a whole row
  int32_t asymmetric;       ///< 1: a zero point for every group
} ophis_load_options;
OPHIS_API ophis_status ophis_load_options_init(ophis_load_options* options, size_t size);

/// Reads config.json and the weights (safetensors or pytorch_model.bin) of the folder `name`, in Hugging
/// Face's or mamba_ssm's layout, or llama.cpp's GGUF file `name`. Where there is nothing called so,
/// "owner/name" or "owner/name@revision" is a model of the Hugging Face hub: its files are taken from the
/// local cache (HF_HOME), and downloaded to it where they are missing. Fails with OPHIS_NOT_FOUND, OPHIS_IO,
/// OPHIS_CORRUPT_DATA or OPHIS_UNSUPPORTED; the text names the file, parameter or tensor that is wrong.
OPHIS_API ophis_status ophis_model_load(const char* name, const ophis_load_options* options,
                                        ophis_model** model);

/// What ophis_quantize makes of a model.
typedef struct ophis_quantize_options {
  size_t size;
  int32_t projection_bits;       ///< as in ophis_load_options; default 4
  int32_t table_bits;            ///< as in ophis_load_options
  int64_t group_size;            ///< as in ophis_load_options
  int32_t asymmetric;            ///< as in ophis_load_options
  const char* calibration_text;  ///< UTF-8: outputs on such text are to change least; or NULL
  int64_t calibration_tokens;    ///< at most so many of it are used; default 8192
} ophis_quantize_options;
OPHIS_API ophis_status ophis_quantize_options_init(ophis_quantize_options* options, size_t size);

/// Writes the model of a folder with quantized weights to a new folder, which appears whole or not at all.
/// Fails as ophis_model_load does, and with OPHIS_INVALID_ARGUMENT if `to` exists or the format does not fit.
OPHIS_API ophis_status ophis_quantize(const char* from, const char* to,
                                      const ophis_quantize_options* options);
OPHIS_API void ophis_model_destroy(ophis_model* model);

enum { OPHIS_MAMBA = 1, OPHIS_MAMBA2 = 2 };

/// What a model is. Members of the other architecture are 0.
typedef struct ophis_model_config {
  size_t size;
  int32_t architecture;          ///< OPHIS_MAMBA or OPHIS_MAMBA2
  ophis_dtype dtype;             ///< of weights and activations
  ophis_device device;           ///< where the weights are
  int64_t parameter_count;       ///< a tied head is not counted twice
  int64_t vocab_size;            ///< rows of the embedding, padding included
  int64_t d_model;               ///< width of the residual stream
  int64_t n_layer;               ///< number of blocks
  int64_t d_inner;               ///< width of a block
  int64_t d_state;               ///< size of the recurrent state of a channel or head element
  int64_t d_conv;                ///< taps of the short convolution
  int64_t dt_rank;               ///< Mamba
  int64_t headdim;               ///< Mamba-2
  int64_t nheads;                ///< Mamba-2
  int64_t ngroups;               ///< Mamba-2
  int64_t chunk_size;            ///< Mamba-2
  double norm_epsilon;           ///< of all norms
  int32_t rms_norm;              ///< else LayerNorm
  int32_t residual_in_fp32;      ///< else the residual has the dtype of the activations
  int32_t tie_embeddings;        ///< the head's weight is the embedding's
  int64_t bos_token_id;          ///< an empty prompt begins with it
  int64_t pad_token_id;          ///< fills shorter sequences of a batch
  int64_t num_eos_token_ids;     ///< number of eos_token_ids
  const int64_t* eos_token_ids;  ///< (num_eos_token_ids), valid as long as the model
} ophis_model_config;

/// Fills `config`, whose size the caller has set.
OPHIS_API ophis_status ophis_model_get_config(const ophis_model* model, ophis_model_config* config);

/// The states of all blocks: what a model remembers of the positions it has seen, for `batch` sequences.
typedef struct ophis_cache ophis_cache;

/// An empty cache on the model's device. It may outlive the model, and serve another one of the same shape.
/// `state_dtype`, of the blocks' recurrent states, is float32 (or NULL) or the model's dtype: then a step
/// moves half as much of them, and they are rounded after each.
OPHIS_API ophis_status ophis_cache_create(const ophis_model* model, int64_t batch,
                                          const ophis_dtype* state_dtype, ophis_cache** cache);
/// On a GPU the work on the cache must be done.
OPHIS_API void ophis_cache_destroy(ophis_cache* cache);
/// Makes `to`, of the same shape, remember what `from` does.
OPHIS_API ophis_status ophis_cache_copy(ophis_context* context, const ophis_cache* from, ophis_cache* to);
/// Forgets all positions.
OPHIS_API ophis_status ophis_cache_reset(ophis_context* context, ophis_cache* cache);
/// The number of sequences.
OPHIS_API ophis_status ophis_cache_batch(const ophis_cache* cache, int64_t* batch);
/// Positions seen since the start or the last reset.
OPHIS_API ophis_status ophis_cache_seqlen(const ophis_cache* cache, int64_t* seqlen);
/// Writes the states, bit for bit, to a safetensors file, which appears whole or not at all. Fails with
/// OPHIS_INVALID_ARGUMENT for a cache of another model, OPHIS_NOT_FOUND or OPHIS_IO.
OPHIS_API ophis_status ophis_cache_save(ophis_context* context, const ophis_model* model,
                                        const ophis_cache* cache, const char* path);
/// Reads them back into a cache of the same batch and state_dtype. Only a file that was written for a model
/// of the same configuration and dtype is taken; that its weights are the same is the caller's care. Fails
/// with OPHIS_NOT_FOUND, OPHIS_IO, OPHIS_CORRUPT_DATA or OPHIS_INVALID_ARGUMENT, and then leaves the cache as
/// it was.
OPHIS_API ophis_status ophis_cache_load(ophis_context* context, const ophis_model* model, ophis_cache* cache,
                                        const char* path);
/// The state of one block, to read or to change, valid as long as the cache. conv: the last inputs of the
/// convolution, oldest first, (batch, conv_dim, d_conv - 1) of the model's dtype, by strides. ssm: of
/// state_dtype, Mamba (batch, d_inner, d_state), Mamba-2 (batch, nheads, headdim, d_state). Either may be
/// NULL.
OPHIS_API ophis_status ophis_cache_state(const ophis_cache* cache, int64_t layer, const ophis_tensor** conv,
                                         const ophis_tensor** ssm);

/// One call of a model. Either input_ids or inputs_embeds is given. The tensors are on the CPU, or dense on
/// the model's device.
typedef struct ophis_forward_args {
  size_t size;
  const ophis_tensor* input_ids;      ///< (batch, seqlen) int64 or int32
  const ophis_tensor* inputs_embeds;  ///< (batch, seqlen, d_model) any compute dtype
  /// (batch, seqlen) int64 or int32, or NULL: 0 marks left padding, 1 the rest
  const ophis_tensor* attention_mask;
  const ophis_tensor* labels;  ///< (batch, seqlen) int64, or NULL: the loss of logits[:, l] against labels[:,
                               ///< l + 1]; -100 is passed over
  ophis_cache* cache;          ///< go on from these states, and advance them; or NULL
  int64_t logits_to_keep;      ///< logits of the last so many positions; 0, the default: of all
  int32_t output_hidden_states;  ///< keep what ophis_output_hidden_states gives
  /// (kept) int64, on the CPU, or NULL: logits of these positions instead
  const ophis_tensor* logits_positions;
} ophis_forward_args;
OPHIS_API ophis_status ophis_forward_args_init(ophis_forward_args* args, size_t size);

/// What a forward pass computes. Its tensors are on the model's device, ready, and valid until it is
/// destroyed.
typedef struct ophis_output ophis_output;

/// All positions at once. Waits until the output is ready.
OPHIS_API ophis_status ophis_model_forward(const ophis_model* model, ophis_context* context,
                                           const ophis_forward_args* args, ophis_output** output);
OPHIS_API void ophis_output_destroy(ophis_output* output);
/// (batch, kept, vocab_size) float32
OPHIS_API ophis_status ophis_output_logits(const ophis_output* output, const ophis_tensor** logits);
/// With output_hidden_states: index 0 to n_layer - 1 is the residual after that block, (batch, seqlen,
/// d_model) in float32 or the model's dtype, n_layer the output of the final norm, in the model's dtype.
OPHIS_API ophis_status ophis_output_hidden_states(const ophis_output* output, int64_t index,
                                                  const ophis_tensor** hidden_states);
/// With labels: the mean over those that count, in nats.
OPHIS_API ophis_status ophis_output_loss(const ophis_output* output, double* loss);

/// The next position of every sequence: ids (batch) int64, logits (batch, vocab_size) float32, both on the
/// model's device. Advances the cache. On a GPU it returns before the work is done.
OPHIS_API ophis_status ophis_model_step(const ophis_model* model, ophis_context* context,
                                        const ophis_tensor* ids, ophis_cache* cache,
                                        const ophis_tensor* logits);

/// Why a sequence ended.
enum {
  OPHIS_FINISH_LENGTH = 0,    ///< max_new_tokens
  OPHIS_FINISH_EOS = 1,       ///< one of eos_token_ids
  OPHIS_FINISH_STOP = 2,      ///< a stop string
  OPHIS_FINISH_CANCELLED = 3  ///< a callback returned 0
};

/// How ophis_generate goes about it. Zero in every member is not the default: see _init.
typedef struct ophis_generation_options {
  size_t size;
  int64_t max_new_tokens;        ///< default 128
  const int64_t* eos_token_ids;  ///< (num_eos_token_ids): a sequence ends with the first of these
  int64_t num_eos_token_ids;     ///< 0, the default: the model's own eos_token_ids
  int32_t ignore_eos;            ///< go on after eos_token_ids
  /// Called with every new token as it comes, in the calling thread; generation stops when it returns 0. Or
  /// NULL.
  int32_t (*on_token)(void* user_data, int64_t sequence, int32_t id);
  void* user_data;          ///< given to the callback
  ophis_dtype state_dtype;  ///< of the cache, as ophis_cache_create takes it; bits 0, the default: float32

  // How a token is chosen, as docs/generation.md says; zeros: the most probable one.
  double temperature;         ///< 0, the default: greedy; of equal tokens the lowest id
  int64_t top_k;              ///< keep so many of the most probable tokens; 0, the default: all
  double top_p;               ///< keep the most probable tokens that together reach it; 1 (default) or 0: all
  double min_p;               ///< keep tokens at least so probable as a part of the most probable one
  double repetition_penalty;  ///< on tokens of the history, prompt and new text; 1 (default) or 0: none
  double presence_penalty;    ///< taken from the logits of tokens in the new text
  double frequency_penalty;   ///< the same, for each time that they are in it
  uint64_t seed;              ///< of the random numbers

  int64_t num_return_sequences;  ///< of each prompt, side by side in the results; 1 (default) or 0: one
  /// Decodes the new tokens for stop and on_text, or NULL.
  const ophis_tokenizer* tokenizer;
  /// (num_stop): a sequence ends where the first of these is complete in its new text.
  const char* const* stop;
  int64_t num_stop;  ///< number of stop strings
  /// Called with user_data and new text as it comes, `text_bytes` bytes of whole characters, without a stop
  /// string; not ended by a zero. Generation stops when it returns 0. Or NULL.
  int32_t (*on_text)(void* user_data, int64_t sequence, const char* text, size_t text_bytes);
  /// (sequences, max_new_tokens), or NULL: written like ids, the logarithm of each new token's probability by
  /// the model's softmax alone.
  float* logprobs;
  int32_t* finish_reasons;  ///< (sequences), or NULL: written, OPHIS_FINISH_...
  /// Go on from these states, one for each prompt, or NULL: empty ones. They then have seen all but the last
  /// of the new tokens.
  ophis_cache* cache;
  /// (num_prompts) pointers to what the cache has seen already, for repetition_penalty, or NULL.
  const int32_t* const* history;
  const int64_t* history_lengths;  ///< (num_prompts) numbers of ids that history points to

  int64_t top_logprobs;  ///< so many tokens are told for each new one; 0, the default: none
  /// (sequences, max_new_tokens, top_logprobs): written, the most probable tokens at the place of each new
  /// one, the first of them first; or NULL, as top_logprob_values, if there are none.
  int32_t* top_logprob_ids;
  float* top_logprob_values;  ///< of the same shape: written like logprobs, for these tokens
} ophis_generation_options;
OPHIS_API ophis_status ophis_generation_options_init(ophis_generation_options* options, size_t size);

/// What ophis_generate did.
typedef struct ophis_generation_stats {
  size_t size;
  int64_t prompt_tokens;   ///< of all sequences, without padding
  int64_t steps;           ///< one-step updates done after the prefill
  double prefill_seconds;  ///< from the start to the first token
  double decode_seconds;   ///< the steps
} ophis_generation_stats;

/// Continues each prompt, token by token. prompts (num_prompts) are pointers to ids, prompt_lengths
/// (num_prompts) their numbers, each at least 1; prompts of different lengths are padded on the left. There
/// are num_prompts * num_return_sequences sequences. New tokens go to ids (sequences, max_new_tokens), row by
/// row, and their numbers to num_ids (sequences); the token that ended a sequence is its last. With a
/// callback returning 0 they are what came until then, and the call is OPHIS_OK. stats, whose size the caller
/// has set, may be NULL.
OPHIS_API ophis_status ophis_generate(const ophis_model* model, ophis_context* context,
                                      const int32_t* const* prompts, const int64_t* prompt_lengths,
                                      int64_t num_prompts, const ophis_generation_options* options,
                                      int32_t* ids, int64_t* num_ids, ophis_generation_stats* stats);

#ifdef __cplusplus
}
#endif

#endif  // OPHIS_H
