#pragma once

// What the calls of kernels over heads share: tensors [B, S, N, D].

#include "rows.hpp"

namespace coppice {

// Strides of a tensor whose channels are dense; nothing for other layouts.
std::optional<kernels::Heads> heads_of(const at::Tensor &x);

// The same, copied where it must be; the copy is kept in `x`.
kernels::Heads dense_heads(at::Tensor &x);

struct AttentionOptions {
  bool causal;
  int64_t window;
  double scale, softcap;
};

// What queries `first` … `first + count - 1` do not see, [count, keys] of booleans; undefined where they see everything.
at::Tensor unseen(const at::Tensor &q, const at::Tensor &k, int64_t first, int64_t count, const AttentionOptions &options);

// Attention by libtorch's operators, for what the kernels do not take: other devices and types, autograd. Sinks ([N]
// float32) and log-sums ([B, S, N] float32) may be undefined.
at::Tensor attend_with_operators(
  const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &sinks,
  const AttentionOptions &options, const at::Tensor &lse);

}  // namespace coppice
