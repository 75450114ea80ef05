#pragma once

// The CPU kernels: plain functions over pointers and strides, one table of them for each instruction set.
// Nothing here knows libtorch; the files named *_calls.cpp check tensors, share out the work and fall back.
//
// Shapes: B rows, S tokens, C channels (the last axis, always dense), N query heads, K key-value heads,
// D channels of a head. Strides count elements. Sums and statistics are float32.

#include <cstdint>

namespace coppice::kernels {

struct bf16 {
  uint16_t bits;
};

// [B, S, C] by its first element; a null `data` is an absent argument.
struct Tokens {
  void *data = nullptr;
  int64_t row = 0, token = 0;
};

// [B, S, N, D].
struct Heads {
  void *data = nullptr;
  int64_t row = 0, token = 0, head = 0;
};

// The work of one task: tokens `first` ..< `last` of row `b`. Those below `valid` are no padding: |out| of
// them is added to `sums` [C], which the caller has cleared.
struct Block {
  int64_t b, first, last, valid;
  float *sums;
};

struct NormCall {
  Tokens x, residual, sum, out;
  const void *weight;
  float *rstd;  // [B, S] or null
  int64_t tokens, channels;
  float eps;
  bool wide;     // round once, behind the weight, instead of before it and behind it
  float offset;  // added to the weight, where `wide`
};

enum Gate : int32_t { kSilu, kGelu, kGeluTanh, kReluSquared, kRelu };

struct GateCall {
  Tokens gate, up, out;
  int64_t channels;
};

// dx, and where the block has sums, what it adds to the gradient of the weight.
struct NormBackwardCall {
  Tokens x, dy, dx;
  const void *weight;
  const float *rstd;  // [B, S]
  int64_t tokens, channels;
  float offset;
};

struct GateBackwardCall {
  Tokens gate, up, dy, dgate, dup;
  int64_t channels;
};

struct ColumnCall {
  Tokens x;
  int64_t channels;
};

struct CosineCall {
  Tokens a, b;
  float *out;  // [B, S]
  int64_t tokens, channels;
  float eps;
};

struct RotaryCall {
  Heads x, out;
  const void *cosine, *sine;       // [S, width] or [S, width / 2]
  int64_t cosine_row, second;      // their stride, and where the second half's begin (0 where shared)
  const void *norm_weight;         // [D] or null: x is normalised over D first
  int64_t heads, channels, width;  // `width` channels turn, those behind pass as they are
  float eps;
};

struct AttentionCall {
  Heads q, k, v, out;
  float *lse;  // [B, S, N], log of each query's sum of exponentials, or null
  const float *sinks;  // [N], scores that take part in softmax and give nothing, or null
  int64_t queries, keys, heads, groups;
  // The first `prefix` keys and values of all lie here instead, and `k` and `v` begin behind them.
  const void *prefix_k, *prefix_v;
  int64_t prefix;
  int64_t width, value_width;  // D of queries and keys, D of values and the result
  int64_t window;              // keys a query sees, its own included; 0 for all
  bool causal;
  float scale, softcap;        // softcap 0: none
};

// Queries of one row and key-value head, all heads of its group together.
struct AttentionBlock {
  int64_t b, group, first, last;
};

// Logits [S, R] of a stretch of the vocabulary, in which some may have no part: those of a token whose `choice` is below `least`.
struct LogSumCall {
  Tokens logits, choice;
  const float *least;  // [S] or null
  float *out;          // [S], log Σ e^(scale · logit) of those that have a part
  int64_t channels;
  float scale;
};

// What a loss changes by per logit, [S, R]: weight · (divergence · (q − q_teacher) + cross_entropy · (p − 1 at the target)), and each
// token's Σ q_teacher · (log q_teacher − log q). p = e^(logit − plain); q = e^(scale · logit − soft) where the teacher's logit is no less
// than `least`, else 0.
struct SlopeCall {
  Tokens logits, teacher, slope;           // no teacher: no divergence; no slope: only the gaps are wanted
  const float *plain, *soft, *teacher_soft, *least, *weights;  // [S]; `least` may be null
  const int64_t *targets;                  // [S], counted from the stretch's first row; those outside it are none
  float *gaps;                             // [S] or null
  int64_t channels;
  float scale, divergence, cross_entropy;
};

enum Element { kFloat32, kBFloat16, kElements };
constexpr int kGates = 5;

struct Table {
  const char *name;
  void (*norm[kElements])(const NormCall &, const Block &);
  void (*gate[kElements][kGates])(const GateCall &, const Block &);
  void (*norm_backward[kElements])(const NormBackwardCall &, const Block &);
  void (*gate_backward[kElements][kGates])(const GateBackwardCall &, const Block &);
  void (*columns[kElements])(const ColumnCall &, const Block &);
  void (*cosine[kElements])(const CosineCall &, const Block &);
  void (*log_sums[kElements])(const LogSumCall &, int64_t first, int64_t last);
  void (*slopes[kElements])(const SlopeCall &, int64_t first, int64_t last);
  void (*rotary[kElements])(const RotaryCall &, const Block &);
  // `scratch` has `attention_scratch` bytes, aligned to 64.
  void (*attention[kElements])(const AttentionCall &, const AttentionBlock &, void *scratch);
  int64_t (*attention_scratch[kElements])(const AttentionCall &);
};

extern const Table generic_table;
#ifdef __x86_64__
extern const Table avx2_table, avx512_table, avx512_bf16_table;
#endif

// The table in use, or null where kernels are switched off: the best that this machine has, unless
// COPPICE_KERNELS (generic, avx2, avx512, avx512_bf16 or off) or `choose` says another.
const Table *chosen();

// False where the name is unknown or this machine lacks the instructions; an empty name is the best.
bool choose(const char *name);

}  // namespace coppice::kernels
