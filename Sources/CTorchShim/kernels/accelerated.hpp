#pragma once

// What libtorch computes in one call on CUDA, and by operators where that does not fit.

#include "heads.hpp"

namespace coppice {

// x / √(mean x² + eps) · weight over the last axis, and those roots' reciprocals in float32: of x's dimensions, the last of them 1.
// By operators rounded to x's type before the weight, as PyTorch's models do.
std::pair<at::Tensor, at::Tensor> norm_with_operators(const at::Tensor &x, const at::Tensor &weight, double eps);

// The gradients of its input and weight (undefined without a weight); nothing where that takes operators.
std::optional<std::pair<at::Tensor, at::Tensor>> accelerated_norm_backward(
  const at::Tensor &dy, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &rstd);

// Causal attention of a row's segments, all at once: [1, T, N, D]; undefined where that takes operators.
at::Tensor accelerated_segments(
  const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &sinks,
  c10::ArrayRef<ct_segment> segments, const AttentionOptions &options);

}  // namespace coppice
