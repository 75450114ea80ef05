#pragma once

// What libtorch computes in one call on CUDA. Each returns nothing where it does not fit, and the operators take over.

#include "heads.hpp"

namespace coppice {

// x / √(mean x² + eps) · weight over the last axis, and those roots' reciprocals in float32: of x's dimensions, the last of them 1.
std::optional<std::pair<at::Tensor, at::Tensor>> accelerated_norm(const at::Tensor &x, const at::Tensor &weight, double eps);

// The gradients of its input and weight (undefined without a weight).
std::optional<std::pair<at::Tensor, at::Tensor>> accelerated_norm_backward(
  const at::Tensor &dy, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &rstd);

// Causal attention of a row's segments, all at once: [1, T, N, D].
at::Tensor accelerated_segments(
  const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &sinks,
  c10::ArrayRef<ct_segment> segments, const AttentionOptions &options);

}  // namespace coppice
