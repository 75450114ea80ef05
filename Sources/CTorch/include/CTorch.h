#pragma once

// The C boundary to libtorch. It names no torch type: tensors are opaque, types and devices are numbers.
//
// libcoppice_torch.so (the CTorchShim target) implements it and is opened at run time; it hands over one
// `ct_api`, so a caller needs one symbol and a program that touches no tensor opens nothing.
//
// Every function that can fail returns NULL, or a message that the caller frees with free(); results come
// through pointers and are written only on success. A returned tensor belongs to the caller (`tensor_free`).
// Calls are safe from any thread as long as no two use the same tensor while one of them writes to it.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "processor.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma clang assume_nonnull begin

typedef struct ct_tensor ct_tensor;
typedef struct ct_transfer ct_transfer;
typedef struct ct_store ct_store;
typedef struct ct_group ct_group;
typedef struct ct_work ct_work;
typedef struct ct_channel ct_channel;
typedef char *_Nullable ct_error;
typedef ct_tensor *_Nullable *_Nonnull ct_out;
typedef const int64_t *_Nullable ct_dims;

// Raised whenever the layout of `ct_api` or the meaning of a number below changes.
#define CT_ABI 14

// The one libtorch that this code is written and checked against.
#define CT_LIBTORCH_VERSION "2.11.0"

enum { CT_KEEP = -1 };

// Takes bytes over that are valid during the call.
typedef void (*_Nonnull ct_receive)(void *_Nonnull context, const void *_Nullable bytes, size_t count);

// What AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) does with a gradient.
typedef struct ct_adamw {
  double rate, beta1, beta2, eps, decay;
} ct_adamw;

typedef enum ct_dtype : int32_t {
  CT_FLOAT32,
  CT_BFLOAT16,
  CT_FLOAT16,
  CT_FLOAT64,
  CT_INT64,
  CT_INT32,
  CT_UINT8,
  CT_BOOL,
} ct_dtype;

// A device is one number: the CPU, Metal, or CT_CUDA + index.
enum { CT_CPU = 0, CT_MPS = 1, CT_CUDA = 1000 };

// Bytes by which two processes find each other with NCCL.
enum { CT_CHANNEL_ID = 128 };

typedef enum ct_unary : int32_t {
  CT_NEG,
  CT_ABS,
  CT_SQUARE,
  CT_SQRT,
  CT_RSQRT,
  CT_EXP,
  CT_LOG,
  CT_LOG1P,
  CT_TANH,
  CT_SIGMOID,
  CT_SILU,
  CT_GELU,
  CT_GELU_TANH,
  CT_RELU,
  CT_COS,
  CT_SIN,
  CT_SOFTPLUS,
  CT_RECIPROCAL,
  CT_LOGICAL_NOT,
  CT_IS_FINITE,
} ct_unary;

typedef enum ct_binary : int32_t {
  CT_ADD,
  CT_SUB,
  CT_MUL,
  CT_DIV,
  CT_POW,
  CT_FLOOR_DIVIDE,
  CT_REMAINDER,
  CT_MAXIMUM,
  CT_MINIMUM,
  CT_EQ,
  CT_NE,
  CT_GT,
  CT_GE,
  CT_LT,
  CT_LE,
  CT_LOGICAL_AND,
  CT_LOGICAL_OR,
} ct_binary;

typedef enum ct_reduction : int32_t {
  CT_SUM,
  CT_MEAN,
  CT_AMAX,
  CT_AMIN,
  CT_LOGSUMEXP,
} ct_reduction;

typedef enum ct_gate : int32_t {
  CT_GATE_SILU,
  CT_GATE_GELU,
  CT_GATE_GELU_TANH,
  CT_GATE_RELU_SQUARED,
  CT_GATE_RELU,
} ct_gate;

// Where the kernels add up |x| over the valid tokens of each row of a tensor [B, S, C]: `sums` is float32 [B, C],
// `lengths` has B numbers up to S.
typedef struct ct_tap {
  ct_tensor *_Nonnull sums;
  const int64_t *_Nullable lengths;
  size_t count;
} ct_tap;

// A loss of a stretch of R of the vocabulary's logits, [M, R], and its parts by token, [M]: log Σ e^logit over the whole vocabulary, of
// the student as it is and of both sides as the divergence takes them (scaled, and only where the teacher's logit is no less than
// `least`); the tokens' weights, and their targets (int64) counted from the stretch's first row.
typedef struct ct_vocabulary_loss {
  ct_tensor *_Nonnull logits;
  ct_tensor *_Nullable teacher;
  ct_tensor *_Nonnull plain;
  ct_tensor *_Nullable soft;
  ct_tensor *_Nullable teacher_soft;
  ct_tensor *_Nullable least;
  ct_tensor *_Nonnull weights;
  ct_tensor *_Nonnull targets;
  double scale, divergence, cross_entropy;
  bool wants_slope;
} ct_vocabulary_loss;

// A stretch of queries in attention over a packed row, and the keys it sees: `prefix_keys` from `prefix` on, then `keys`
// from `own` on. Causal: the last query sees all of them, each one before it one key fewer.
typedef struct ct_segment {
  int64_t query, queries, prefix, prefix_keys, own, keys;
} ct_segment;

// Everything the shim offers. Each member is a non-null function pointer once `ct_open` has succeeded.
// `dims` and `shape` arguments are an array and its length; negative dimensions count from the end.
// A dtype or device of CT_KEEP leaves that of the input.
typedef struct ct_api {
  // Library.
  const char *_Nonnull (*_Nonnull torch_version)(void);
  const char *_Nonnull (*_Nonnull cpu_capability)(void);
  int32_t (*_Nonnull threads)(void);
  ct_error (*_Nonnull set_threads)(int32_t count);
  bool (*_Nonnull has_mkl)(void);
  bool (*_Nonnull has_mkldnn)(void);
  int32_t (*_Nonnull cuda_devices)(void);
  ct_error (*_Nonnull set_deterministic)(bool on);
  ct_error (*_Nonnull manual_seed)(uint64_t seed);
  // Memory of large tensors stays with the process when they go and is handed out again: up to `bytes` of it, and as much
  // as keeps the whole a quarter (and 64 MiB) above the most that was in use at once. 0 gives all of it back to the
  // system at once. `release_memory` gives back what is kept now, and forgets what was in use.
  void (*_Nonnull keep_memory)(size_t bytes);
  void (*_Nonnull release_memory)(void);
  // Autograd is off on every thread until it asks for it; returns what the switch was.
  bool (*_Nonnull set_gradients)(bool on);

  bool (*_Nonnull records_gradients)(void);
  // A tensor over the same memory that nothing recorded has led to; gradients can be asked by it where they are wanted. What
  // was made while nothing was recorded is copied.
  ct_error (*_Nonnull leaf)(ct_tensor *a, bool wanted, ct_out out);
  // What Σ outputs · given changes by, per element of each input: NULL for an input that has no bearing. What was recorded
  // is gone afterwards.
  ct_error (*_Nonnull gradients)(
    ct_tensor *_Nonnull const *_Nonnull outputs, ct_tensor *_Nonnull const *_Nonnull given, size_t count,
    ct_tensor *_Nonnull const *_Nonnull inputs, size_t input_count, ct_tensor *_Nullable *_Nonnull out);
  // Step number `step` (from 1) in place: weights, the running means of their gradients and of those's squares, all of one
  // type.
  ct_error (*_Nonnull adamw)(
    ct_tensor *_Nonnull const *_Nonnull weights, ct_tensor *_Nonnull const *_Nonnull slopes,
    ct_tensor *_Nonnull const *_Nonnull means, ct_tensor *_Nonnull const *_Nonnull squares, size_t count,
    const ct_adamw *rule, int64_t step);

  // Tensors: life and facts. These do not fail.
  void (*_Nonnull tensor_free)(ct_tensor *tensor);
  int64_t (*_Nonnull dim)(ct_tensor *tensor);
  void (*_Nonnull shape)(ct_tensor *tensor, int64_t *shape);
  int64_t (*_Nonnull numel)(ct_tensor *tensor);
  int32_t (*_Nonnull dtype)(ct_tensor *tensor);
  int32_t (*_Nonnull device)(ct_tensor *tensor);
  bool (*_Nonnull is_contiguous)(ct_tensor *tensor);
  bool (*_Nonnull is_borrowed)(ct_tensor *tensor);

  // Creation.
  ct_error (*_Nonnull empty)(ct_dims shape, size_t dim, int32_t dtype, int32_t device, ct_out out);
  ct_error (*_Nonnull full)(ct_dims shape, size_t dim, double value, int32_t dtype, int32_t device, ct_out out);
  ct_error (*_Nonnull arange)(double start, double end, double step, int32_t dtype, int32_t device, ct_out out);
  ct_error (*_Nonnull randn)(ct_dims shape, size_t dim, int32_t dtype, int32_t device, ct_out out);
  ct_error (*_Nonnull from_bytes)(const void *_Nullable bytes, size_t count, ct_dims shape, size_t dim, int32_t dtype, ct_out out);
  // No copy. `release(context)` is called exactly once: when the last view of the memory is gone, or before
  // a failing call returns. The memory is taken to be read-only: in-place functions refuse such tensors.
  ct_error (*_Nonnull borrow)(
    const void *_Nullable bytes, size_t count, ct_dims shape, size_t dim, int32_t dtype, void *context,
    void (*release)(void *context), ct_out out);

  // Copies and reading.
  ct_error (*_Nonnull to)(ct_tensor *a, int32_t dtype, int32_t device, ct_out out);
  ct_error (*_Nonnull clone)(ct_tensor *a, ct_out out);
  ct_error (*_Nonnull contiguous)(ct_tensor *a, ct_out out);
  ct_error (*_Nonnull copy_)(ct_tensor *a, ct_tensor *source);
  ct_error (*_Nonnull read)(ct_tensor *a, int32_t dtype, void *_Nullable bytes, size_t count);
  ct_error (*_Nonnull item)(ct_tensor *a, double *out);
  ct_error (*_Nonnull data)(ct_tensor *a, const void *_Nullable *_Nonnull out, size_t *count);

  // Copies to a device. `send` returns before the copy is done, `receive` has the device's next work wait for it.
  ct_error (*_Nonnull send)(ct_tensor *tensor, int32_t device, ct_transfer *_Nullable *_Nonnull out);
  ct_error (*_Nonnull receive)(ct_transfer *transfer, ct_out out);
  void (*_Nonnull transfer_free)(ct_transfer *transfer);
  ct_error (*_Nonnull device_memory)(int32_t device, size_t *free, size_t *total);

  // Shapes. Views where possible.
  ct_error (*_Nonnull reshape)(ct_tensor *a, ct_dims shape, size_t dim, ct_out out);
  ct_error (*_Nonnull view)(ct_tensor *a, ct_dims shape, size_t dim, ct_out out);
  ct_error (*_Nonnull transpose)(ct_tensor *a, int64_t first, int64_t second, ct_out out);
  ct_error (*_Nonnull permute)(ct_tensor *a, ct_dims order, size_t dim, ct_out out);
  ct_error (*_Nonnull unsqueeze)(ct_tensor *a, int64_t dim, ct_out out);
  ct_error (*_Nonnull squeeze)(ct_tensor *a, int64_t dim, ct_out out);
  ct_error (*_Nonnull expand)(ct_tensor *a, ct_dims shape, size_t dim, ct_out out);
  ct_error (*_Nonnull narrow)(ct_tensor *a, int64_t dim, int64_t start, int64_t length, ct_out out);
  ct_error (*_Nonnull select)(ct_tensor *a, int64_t dim, int64_t index, ct_out out);
  ct_error (*_Nonnull cat)(ct_tensor *_Nonnull const *_Nonnull tensors, size_t count, int64_t dim, ct_out out);
  ct_error (*_Nonnull stack)(ct_tensor *_Nonnull const *_Nonnull tensors, size_t count, int64_t dim, ct_out out);
  ct_error (*_Nonnull repeat_interleave)(ct_tensor *a, int64_t repeats, int64_t dim, ct_out out);
  ct_error (*_Nonnull flip)(ct_tensor *a, ct_dims dims, size_t count, ct_out out);
  ct_error (*_Nonnull tril)(ct_tensor *a, int64_t diagonal, ct_out out);
  ct_error (*_Nonnull triu)(ct_tensor *a, int64_t diagonal, ct_out out);

  // Indexing.
  ct_error (*_Nonnull index_select)(ct_tensor *a, int64_t dim, ct_tensor *index, ct_out out);
  ct_error (*_Nonnull gather)(ct_tensor *a, int64_t dim, ct_tensor *index, ct_out out);
  ct_error (*_Nonnull index_add_)(ct_tensor *a, int64_t dim, ct_tensor *index, ct_tensor *source);
  ct_error (*_Nonnull index_copy_)(ct_tensor *a, int64_t dim, ct_tensor *index, ct_tensor *source);
  ct_error (*_Nonnull scatter)(ct_tensor *a, int64_t dim, ct_tensor *index, ct_tensor *source, ct_out out);
  ct_error (*_Nonnull scatter_add)(ct_tensor *a, int64_t dim, ct_tensor *index, ct_tensor *source, ct_out out);
  ct_error (*_Nonnull nonzero)(ct_tensor *a, ct_out out);
  ct_error (*_Nonnull bincount)(ct_tensor *a, int64_t minimum_length, ct_out out);
  ct_error (*_Nonnull masked_fill)(ct_tensor *a, ct_tensor *mask, double value, ct_out out);
  ct_error (*_Nonnull where)(ct_tensor *condition, ct_tensor *a, ct_tensor *b, ct_out out);

  // Elementwise.
  ct_error (*_Nonnull unary)(ct_unary op, ct_tensor *a, ct_out out);
  ct_error (*_Nonnull unary_)(ct_unary op, ct_tensor *a);
  ct_error (*_Nonnull binary)(ct_binary op, ct_tensor *a, ct_tensor *b, ct_out out);
  ct_error (*_Nonnull binary_)(ct_binary op, ct_tensor *a, ct_tensor *b);
  ct_error (*_Nonnull scalar)(ct_binary op, ct_tensor *a, double b, ct_out out);
  ct_error (*_Nonnull scalar_)(ct_binary op, ct_tensor *a, double b);
  ct_error (*_Nonnull clamp)(ct_tensor *a, const double *_Nullable minimum, const double *_Nullable maximum, ct_out out);
  ct_error (*_Nonnull fill_)(ct_tensor *a, double value);
  ct_error (*_Nonnull add_scaled_)(ct_tensor *a, ct_tensor *b, double scale);
  ct_error (*_Nonnull add_product_)(ct_tensor *a, ct_tensor *b, ct_tensor *c, double scale);

  // Reductions. With no dims, over all of them.
  ct_error (*_Nonnull reduce)(
    ct_reduction op, ct_tensor *a, ct_dims dims, size_t count, bool keep, int32_t dtype, ct_out out);
  ct_error (*_Nonnull norm)(ct_tensor *a, double p, ct_dims dims, size_t count, bool keep, int32_t dtype, ct_out out);
  ct_error (*_Nonnull argmax)(ct_tensor *a, int64_t dim, bool keep, ct_out out);
  ct_error (*_Nonnull cumsum)(ct_tensor *a, int64_t dim, int32_t dtype, ct_out out);
  ct_error (*_Nonnull top_k)(ct_tensor *a, int64_t k, int64_t dim, bool largest, ct_out values, ct_out indices);
  ct_error (*_Nonnull sort)(ct_tensor *a, int64_t dim, bool descending, ct_out values, ct_out indices);
  // Of a symmetric matrix, whose lower triangle is read: eigenvalues ascending, eigenvectors in columns.
  ct_error (*_Nonnull eigh)(ct_tensor *a, ct_out values, ct_out vectors);
  ct_error (*_Nonnull softmax)(ct_tensor *a, int64_t dim, int32_t dtype, ct_out out);
  ct_error (*_Nonnull log_softmax)(ct_tensor *a, int64_t dim, int32_t dtype, ct_out out);
  ct_error (*_Nonnull all)(ct_tensor *a, bool *out);
  ct_error (*_Nonnull any)(ct_tensor *a, bool *out);
  ct_error (*_Nonnull all_finite)(ct_tensor *a, bool *out);
  ct_error (*_Nonnull equal)(ct_tensor *a, ct_tensor *b, bool *out);

  // Networks.
  // Products are of the type of `a`. Its other factor may be narrower (bfloat16, float16) where `a` is float32.
  ct_error (*_Nonnull matmul)(ct_tensor *a, ct_tensor *b, ct_out out);
  // total [M, N] += a [M, K] · b [K, N].
  ct_error (*_Nonnull add_matmul_)(ct_tensor *total, ct_tensor *a, ct_tensor *b);
  ct_error (*_Nonnull linear)(ct_tensor *a, ct_tensor *weight, ct_tensor *_Nullable bias, ct_out out);
  // Cholesky's factor of A [n, n], symmetric and positive definite. `info` is 0, or the order of the first minor that is not
  // positive: `out` is NULL then. And X of A X = B, B [n, m], by that factor.
  ct_error (*_Nonnull cholesky)(ct_tensor *a, int32_t *info, ct_out out);
  ct_error (*_Nonnull cholesky_solve)(ct_tensor *factor, ct_tensor *b, ct_out out);
  // total [M, N] float64 += Σ over tokens of a bᵀ, for a [T, M] and b [T, N] on the CPU: products in bfloat16 where both are
  // and the processor multiplies it, else in float32, of 4,096 tokens at a time with float32 sums. These are rounded by
  // adding `rounding` and taking it off again. Symmetric: only blocks on and above the diagonal are added to. The same
  // numbers on any number of threads.
  ct_error (*_Nonnull add_products)(ct_tensor *a, ct_tensor *b, bool symmetric, double rounding, ct_tensor *total);
  // In [N, N] float64, every number above the diagonal is copied to its place below.
  ct_error (*_Nonnull mirror_upper)(ct_tensor *total);
  // A copy of a weight [out, in] in the order in which oneDNN multiplies, for about so many rows of inputs of a type:
  // `linear` takes it in the weight's place, and nothing else does. The same tensor where there is no such order
  // (`is_packed`).
  ct_error (*_Nonnull pack_linear)(ct_tensor *weight, int64_t rows, int32_t inputs, ct_out out);
  bool (*_Nonnull is_packed)(ct_tensor *tensor);
  ct_error (*_Nonnull embedding)(ct_tensor *weight, ct_tensor *indices, ct_out out);
  ct_error (*_Nonnull rms_norm)(ct_tensor *a, ct_tensor *_Nullable weight, double eps, ct_out out);
  ct_error (*_Nonnull layer_norm)(
    ct_tensor *a, ct_tensor *_Nullable weight, ct_tensor *_Nullable bias, double eps, ct_out out);
  ct_error (*_Nonnull attention)(
    ct_tensor *query, ct_tensor *key, ct_tensor *value, ct_tensor *_Nullable mask, bool is_causal,
    const double *_Nullable scale, bool enable_gqa, ct_out out);
  ct_error (*_Nonnull cosine_similarity)(ct_tensor *a, ct_tensor *b, int64_t dim, double eps, ct_out out);
  ct_error (*_Nonnull conv1d)(
    ct_tensor *a, ct_tensor *weight, ct_tensor *_Nullable bias, int64_t stride, int64_t padding, int64_t groups,
    ct_out out);
  ct_error (*_Nonnull cross_entropy)(ct_tensor *logits, ct_tensor *targets, int64_t ignore_index, ct_out out);
  ct_error (*_Nonnull multinomial)(ct_tensor *probabilities, int64_t count, bool replacement, ct_out out);

  // Kernels: several operators in one pass over memory. On the CPU, in float32 and bfloat16, by code of our own;
  // for other devices, types and layouts, and under autograd, by libtorch's operators with the same result within
  // rounding. `into` and the like receive results: a tensor of the right shape and type, which may be the input.
  const char *_Nonnull (*_Nonnull kernels)(void);
  // Runs task(context, 0) … task(context, count - 1) on libtorch's threads; operations inside use one thread each.
  ct_error (*_Nonnull share_out)(
    int64_t count, void *_Nonnull context, void (*_Nonnull task)(void *_Nonnull context, int64_t index));
  ct_error (*_Nonnull set_kernels)(const char *name);
  // out = norm(x) · weight; with a residual `sum` receives x + residual first, and that is what is normed.
  // Rounded before the weight and after it; with an offset, which is added to the weight, only after it.
  ct_error (*_Nonnull norm_kernel)(
    ct_tensor *x, ct_tensor *_Nullable residual, ct_tensor *_Nullable weight, double eps,
    const double *_Nullable offset, ct_tensor *_Nullable sum, ct_tensor *_Nullable into, const ct_tap *_Nullable tap,
    ct_out out);
  ct_error (*_Nonnull gate_kernel)(
    ct_gate kind, ct_tensor *gate, ct_tensor *_Nullable up, ct_tensor *_Nullable into, const ct_tap *_Nullable tap,
    ct_out out);
  // total [C], float64 or float32, += Σ over rows of (sums / length)², each row's squares rounded to float32.
  ct_error (*_Nonnull add_mean_squares)(const ct_tap *tap, ct_tensor *total);
  ct_error (*_Nonnull column_sums)(ct_tensor *x, const ct_tap *tap);
  ct_error (*_Nonnull token_cosines)(ct_tensor *a, ct_tensor *b, double eps, ct_out out);
  // [M] float32: log Σ e^(scale · logit) over a stretch of the vocabulary, [M, R]; with a choice [M, R] only of those that are no
  // less than the token's `least` in it.
  ct_error (*_Nonnull log_sums)(
    ct_tensor *logits, ct_tensor *_Nullable choice, ct_tensor *_Nullable least, double scale, ct_out out);
  // `gaps` [M] are each token's Σ q_t (log q_t − log q), absent without a teacher. `slope` [M, R], in the logits' type and only
  // where it is wanted, is weight × (divergence × (q − q_t) + cross_entropy × (p − 1 at the target)).
  ct_error (*_Nonnull vocabulary_slopes)(const ct_vocabulary_loss *loss, ct_out gaps, ct_out slope);
  // Of [B, S, N, D]: the first `width` channels of each head turn by the angles whose cosines and sines are given,
  // [S, width] or [S, width / 2]. With a weight heads are normed first.
  ct_error (*_Nonnull rotary_kernel)(
    ct_tensor *x, ct_tensor *cosine, ct_tensor *sine, int64_t width, ct_tensor *_Nullable norm_weight, double eps,
    ct_tensor *_Nullable into, ct_out out);
  // Of [B, S, N, D]; a window and a softcap of 0 are none. Sinks ([N]) are scores that take part in softmax and give
  // nothing. With segments there is one row, and each query belongs to one of them.
  ct_error (*_Nonnull attention_kernel)(
    ct_tensor *query, ct_tensor *key, ct_tensor *value, const ct_segment *_Nullable segments, size_t segment_count,
    ct_tensor *_Nullable sinks, bool causal, int64_t window, double scale, double softcap,
    ct_tensor *_Nullable into, ct_out out);

  // Processes that work together. Times are in seconds.
  // c10d's store of keys and values, below a prefix: served by this process or by another one at `host` and `port`. A
  // server takes `listener` over, a socket that listens at that port, unless it is negative. Each store has a
  // connection of its own, and one call at a time.
  ct_error (*_Nonnull store_open)(
    const char *host, uint16_t port, int32_t listener, bool serves, double timeout, const char *prefix,
    ct_store *_Nullable *_Nonnull out);
  void (*_Nonnull store_free)(ct_store *store);
  uint16_t (*_Nonnull store_port)(ct_store *store);
  ct_error (*_Nonnull store_set)(ct_store *store, const char *key, const void *_Nullable value, size_t count);
  ct_error (*_Nonnull store_has)(ct_store *store, const char *key, bool *out);
  // Waits until there is such a key.
  ct_error (*_Nonnull store_get)(
    ct_store *store, const char *key, double timeout, void *_Nonnull context, ct_receive receive);
  // Sets a key unless it is set; gives what it is then.
  ct_error (*_Nonnull store_first)(
    ct_store *store, const char *key, const void *_Nullable value, size_t count, void *_Nonnull context,
    ct_receive receive);
  // Gloo's connections among `size` processes, each of which calls this: from an interface's address where one is named,
  // else from `address`.
  ct_error (*_Nonnull group_open)(
    ct_store *store, int32_t rank, int32_t size, const char *address, const char *_Nullable interface, double timeout,
    ct_group *_Nullable *_Nonnull out);
  void (*_Nonnull group_free)(ct_group *group);
  // Contiguous tensors in the machine's memory. A receiver's has as many bytes as the sender's; messages between two
  // processes with the same tag arrive in the order in which they are sent.
  ct_error (*_Nonnull group_send)(
    ct_group *group, ct_tensor *tensor, int32_t rank, int32_t tag, ct_work *_Nullable *_Nonnull out);
  ct_error (*_Nonnull group_receive)(
    ct_group *group, ct_tensor *tensor, int32_t rank, int32_t tag, ct_work *_Nullable *_Nonnull out);
  // Waits until the tensor is sent or received; not so when it was aborted, which another thread may do. After a time that
  // is over the whole group is of no use any more.
  ct_error (*_Nonnull work_wait)(ct_work *work, double timeout, bool *out);
  ct_error (*_Nonnull work_abort)(ct_work *work);
  void (*_Nonnull work_free)(ct_work *work);
  // NCCL's messages from one GPU to another: `path` is NCCL's library, NULL for the one that libtorch is linked to.
  // Where a GPU is on the bus of this machine; nothing for other devices.
  ct_error (*_Nonnull device_address)(int32_t device, void *_Nonnull context, ct_receive receive);
  ct_error (*_Nonnull channel_version)(const char *_Nullable path, int32_t *out);
  // CT_CHANNEL_ID bytes, which two processes open a channel with.
  ct_error (*_Nonnull channel_id)(const char *_Nullable path, void *_Nonnull out);
  // Waits for the other process; one is rank 0, the other rank 1.
  ct_error (*_Nonnull channel_open)(
    const char *_Nullable path, const void *_Nonnull id, int32_t rank, int32_t device, ct_channel *_Nullable *_Nonnull out);
  // Contiguous tensors on the channel's device, in order; after both processes have asked for so much.
  ct_error (*_Nonnull channel_send)(ct_channel *channel, ct_tensor *tensor, ct_work *_Nullable *_Nonnull out);
  ct_error (*_Nonnull channel_receive)(ct_channel *channel, ct_tensor *tensor, ct_work *_Nullable *_Nonnull out);
  void (*_Nonnull channel_free)(ct_channel *channel);
} ct_api;

// The one symbol of the shim: its table, or NULL where it speaks another CT_ABI.
#define CT_ENTRY "coppice_torch_api"
typedef const ct_api *_Nullable (*ct_entry)(int32_t abi);

// loader.c ----------------------------------------------------------------------------------------------

// Sets up malloc and the environment for `ct_open`: while there is one thread.
void ct_prepare(void);

// Opens libc10.so and libtorch_cpu.so of the folder `lib`, then libtorch_cuda.so if it is there, then the
// shim. A CUDA library that does not load is no error: the reason comes through `cuda_reason` (free it).
ct_error ct_open(
  const char *lib, const char *shim, const ct_api *_Nullable *_Nonnull api, char *_Nullable *_Nonnull cuda_reason);

// The file of a library that the process has loaded already, by its name; NULL when it has not.
char *_Nullable ct_loaded_path(const char *name);

// The file that contains the loader (an executable, or a library that embeds it); NULL when unknown.
char *_Nullable ct_own_path(void);

#pragma clang assume_nonnull end

#ifdef __cplusplus
}
#endif
