#pragma once

// Calls of kernels whose gradients are recorded: the same results, with a way back.

#include "heads.hpp"

namespace coppice {

// Whether a call with this input has to be recorded: its thread records, and something depends on the input's values.
bool is_recorded(const at::Tensor &x);
template <typename... Others> bool is_recorded(const at::Tensor &x, const Others &...others) {
  return is_recorded(x) || is_recorded(others...);
}

// Where a result goes that would otherwise be written over other values, which the way back may need: the box holds the
// new tensor from then on, unless it is a view of another one.
at::Tensor hand_over(ct_tensor *into, at::Tensor result);

// norm(x) · weight, or of x + residual, and that sum (x where there is no residual).
std::pair<at::Tensor, at::Tensor> recorded_norm(
  const at::Tensor &x, const at::Tensor &residual, const at::Tensor &weight, double eps, std::optional<double> offset);
at::Tensor recorded_gate(ct_gate kind, const at::Tensor &gate, const at::Tensor &up);
at::Tensor recorded_rotation(const at::Tensor &x, const at::Tensor &cosine, const at::Tensor &sine, int64_t width);
at::Tensor recorded_attention(
  const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &sinks, const AttentionOptions &options);
// a · weightᵀ + bias, float32, of what suits oneDNN; its gradients are such products, too.
at::Tensor recorded_projection(const at::Tensor &a, const at::Tensor &weight, const std::optional<at::Tensor> &bias);

// The forward passes and the ways back that those are made of.
at::Tensor norm(
  at::Tensor x, ct_tensor *residual, ct_tensor *weight, double eps, const double *offset, ct_tensor *sum,
  ct_tensor *into, const ct_tap *tap, ct_tensor *rstd);
at::Tensor gate(ct_gate kind, at::Tensor x, ct_tensor *up, ct_tensor *into, const ct_tap *tap);
at::Tensor rotate(
  at::Tensor x, at::Tensor cosine, at::Tensor sine, int64_t width, const at::Tensor &weight, double eps,
  ct_tensor *into);
at::Tensor attend(
  at::Tensor q, at::Tensor k, at::Tensor v, at::Tensor sinks, c10::ArrayRef<ct_segment> segments,
  const AttentionOptions &options, ct_tensor *into, ct_tensor *lse);
std::pair<at::Tensor, at::Tensor> norm_backward(
  at::Tensor dy, at::Tensor x, at::Tensor weight, const at::Tensor &rstd, double offset);
std::pair<at::Tensor, at::Tensor> gate_backward(ct_gate kind, at::Tensor dy, at::Tensor x, at::Tensor up);

}  // namespace coppice
