// The way back through norms and gates: by the kernels where they fit, else by libtorch's operators.

#include "accelerated.hpp"
#include "recorded.hpp"

#include <ATen/MemoryOverlap.h>

#include <cmath>
#include <vector>

namespace coppice {

using namespace kernels;

namespace {

void check_same(const char *what, const at::Tensor &x, const at::Tensor &other) {
  TORCH_CHECK(
    other.sizes() == x.sizes() && other.scalar_type() == x.scalar_type() && other.device() == x.device(), what,
    " has shape ", other.sizes(), " and type ", other.scalar_type(), ", the input ", x.sizes(), " and ",
    x.scalar_type());
}

}  // namespace

// The gradients of the input and of the weight [C] float32 (undefined without a weight).
std::pair<at::Tensor, at::Tensor> norm_backward(
  at::Tensor dy, at::Tensor x, at::Tensor weight, const at::Tensor &rstd, double offset) {
  check_same("the gradient", x, dy);
  RowShape shape(x);
  const int64_t tokens = shape.rows * shape.tokens;
  TORCH_CHECK(
    rstd.scalar_type() == at::kFloat && rstd.is_contiguous() && rstd.numel() == tokens && rstd.device() == x.device(),
    "the reciprocal roots must be a contiguous float32 tensor of ", tokens, " elements, not of shape ", rstd.sizes());
  TORCH_CHECK(
    !weight.defined() || (weight.dim() == 1 && weight.size(0) == shape.channels), "the weight has shape ",
    weight.defined() ? weight.sizes() : at::IntArrayRef(), ", but there are ", shape.channels, " channels");
  const Table *table = chosen();
  auto element = element_of(x);
  bool fits = table && element && plain(x) && plain(dy) && plain(rstd) && tokens > 0 &&
    (!weight.defined() || (plain(weight) && weight.scalar_type() == x.scalar_type()));
  if (fits) {
    at::Tensor dx = at::empty(x.sizes(), x.options().memory_format(at::MemoryFormat::Contiguous));
    if (weight.defined()) weight = weight.contiguous();
    NormBackwardCall call{
      .x = dense_rows(x, shape),
      .dy = dense_rows(dy, shape),
      .dx = dense_rows(dx, shape),
      .weight = weight.defined() ? weight.const_data_ptr() : nullptr,
      .rstd = static_cast<const float *>(rstd.const_data_ptr()),
      .tokens = shape.tokens,
      .channels = shape.channels,
      .offset = static_cast<float>(offset),
    };
    std::vector<int64_t> lengths(static_cast<size_t>(shape.rows), shape.tokens);
    at::Tensor sums;
    if (weight.defined()) sums = at::zeros({shape.rows, shape.channels}, at::kFloat);
    RowTap tap{sums, lengths};
    for_blocks(shape, weight.defined() ? &tap : nullptr, [&](const Block &block) {
      table->norm_backward[*element](call, block);
    });
    return {dx, weight.defined() ? sums.sum(0) : at::Tensor()};
  }
  if (offset == 0) {
    if (auto found = accelerated_norm_backward(dy, x, weight, rstd)) return *found;
  }
  at::Tensor wide = in_float32(x);
  at::Tensor scale = rstd.view(x.sizes().slice(0, static_cast<size_t>(x.dim() - 1))).unsqueeze(-1);
  at::Tensor g = in_float32(dy);
  at::Tensor dw;
  if (weight.defined()) {
    dw = at::mul(g, wide).mul_(scale).reshape({-1, shape.channels}).sum(0);
    g = at::mul(g, in_float32(weight).add(offset));
  }
  at::Tensor mean = at::mul(g, wide).mean({-1}, /*keepdim=*/true).mul_(scale).mul_(scale);
  return {at::sub(g, at::mul(wide, mean)).mul_(scale).to(x.scalar_type()), dw};
}

namespace {

// act and its derivative by operators, in float32.
std::pair<at::Tensor, at::Tensor> activate(ct_gate kind, const at::Tensor &v) {
  switch (kind) {
    case CT_GATE_SILU: {
      at::Tensor share = at::sigmoid(v);
      return {v.mul(share), share.mul(at::rsub(share, 1).mul_(v).add_(1))};
    }
    case CT_GATE_GELU: {
      at::Tensor below = at::erf(v.mul(M_SQRT1_2)).add_(1).mul_(0.5);
      return {v.mul(below), below.add(at::exp(at::square(v).mul_(-0.5)).mul_(v).mul_(0.3989422804014327))};
    }
    case CT_GATE_GELU_TANH: {
      at::Tensor share = at::sigmoid(at::square(v).mul_(0.044715).add_(1).mul_(v).mul_(1.5957691216057308));
      at::Tensor inner = at::square(v).mul_(0.134145).add_(1).mul_(1.5957691216057308);
      return {v.mul(share), share.add(at::rsub(share, 1).mul_(share).mul_(v).mul_(inner))};
    }
    case CT_GATE_RELU_SQUARED: return {at::square(at::relu(v)), at::relu(v).mul_(2)};
    case CT_GATE_RELU: return {at::relu(v), v.gt(0).to(at::kFloat)};
  }
  throw std::invalid_argument("unknown activation number " + std::to_string(kind));
}

}  // namespace

// The gradients of gate and up (undefined without up).
std::pair<at::Tensor, at::Tensor> gate_backward(ct_gate kind, at::Tensor dy, at::Tensor x, at::Tensor up) {
  TORCH_CHECK(kind >= 0 && kind < kGates, "unknown activation number ", static_cast<int>(kind));
  check_same("the gradient", x, dy);
  if (up.defined()) check_same("the other factor", x, up);
  RowShape shape(x);
  const Table *table = chosen();
  auto element = element_of(x);
  if (table && element && plain(x) && plain(dy) && (!up.defined() || plain(up)) && x.numel() > 0) {
    auto options = x.options().memory_format(at::MemoryFormat::Contiguous);
    at::Tensor dgate = at::empty(x.sizes(), options);
    at::Tensor dup;
    if (up.defined()) dup = at::empty(x.sizes(), options);
    GateBackwardCall call{
      .gate = dense_rows(x, shape),
      .up = up.defined() ? dense_rows(up, shape) : Tokens{},
      .dy = dense_rows(dy, shape),
      .dgate = dense_rows(dgate, shape),
      .dup = up.defined() ? dense_rows(dup, shape) : Tokens{},
      .channels = shape.channels,
    };
    for_blocks(shape, nullptr, [&](const Block &block) { table->gate_backward[*element][kind](call, block); });
    return {dgate, dup};
  }
  auto [active, slope] = activate(kind, in_float32(x));
  at::Tensor g = in_float32(dy);
  at::Tensor dup;
  if (up.defined()) {
    dup = g.mul(active).to(x.scalar_type());
    g = g.mul(in_float32(up));
  }
  return {g.mul(slope).to(x.scalar_type()), dup};
}

}  // namespace coppice
