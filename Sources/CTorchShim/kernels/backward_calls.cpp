// The way back through norms, gates and attention: by the kernels where they fit, else by libtorch's operators.

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

namespace {

// The gradients of queries, keys and values [B, S, N, D], by libtorch's backward pass that computes scores again block by
// block. It knows equally many heads on both sides, so that shared keys are repeated and their gradients added up.
std::array<at::Tensor, 3> attention_backward(
  const at::Tensor &dy, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &out,
  const at::Tensor &lse, bool causal, double scale) {
  TORCH_CHECK(
    q.dim() == 4 && k.dim() == 4 && v.sizes() == k.sizes() && q.size(0) == k.size(0) && q.size(1) == k.size(1) &&
      q.size(3) == k.size(3) && k.size(2) > 0 && q.size(2) % k.size(2) == 0,
    "query ", q.sizes(), ", key ", k.sizes(), " and value ", v.sizes(), " have no backward pass together");
  check_same("the gradient", q, dy);
  check_same("the result", q, out);
  TORCH_CHECK(
    lse.scalar_type() == at::kFloat && lse.sizes() == q.sizes().slice(0, 3), "the log-sums must be float32 of shape ",
    q.sizes().slice(0, 3), ", not ", lse.sizes());
  const int64_t shared = q.size(2) / k.size(2);
  auto heads = [](const at::Tensor &x) { return x.transpose(1, 2); };
  auto spread = [&](const at::Tensor &x) { return heads(x).repeat_interleave(shared, 1); };
  auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
    heads(dy), heads(q), spread(k), spread(v), heads(out), lse.transpose(1, 2).contiguous(), 0.0, causal, std::nullopt,
    scale);
  auto gathered = [&](const at::Tensor &d) {
    const int64_t shape[5] = {k.size(0), k.size(2), shared, k.size(1), k.size(3)};
    return d.reshape(at::IntArrayRef(shape, 5)).sum({2}, false, at::kFloat).to(k.scalar_type()).transpose(1, 2);
  };
  return {dq.transpose(1, 2), gathered(dk), gathered(dv)};
}

}  // namespace

void fill_backward_kernels(ct_api &api) {
  api.norm_backward = [](
                        ct_tensor *dy, ct_tensor *x, ct_tensor *weight, ct_tensor *rstd, double offset, ct_out dx,
                        ct_out dweight) -> ct_error CT_CALL({
    auto [input, scale] =
      norm_backward(dy->value, x->value, weight ? weight->value : at::Tensor(), rstd->value, offset);
    *dx = box(input);
    *dweight = scale.defined() ? box(scale) : nullptr;
  });
  api.gate_backward = [](
                        ct_gate kind, ct_tensor *dy, ct_tensor *gate, ct_tensor *up, ct_out dgate,
                        ct_out dup) -> ct_error CT_CALL({
    auto [first, second] = gate_backward(kind, dy->value, gate->value, up ? up->value : at::Tensor());
    *dgate = box(first);
    *dup = second.defined() ? box(second) : nullptr;
  });
  api.attention_backward = [](
                             ct_tensor *dy, ct_tensor *query, ct_tensor *key, ct_tensor *value, ct_tensor *out,
                             ct_tensor *lse, bool causal, double scale, ct_out dquery, ct_out dkey,
                             ct_out dvalue) -> ct_error CT_CALL({
    auto gradients = attention_backward(
      dy->value, query->value, key->value, value->value, out->value, lse->value, causal, scale);
    *dquery = box(gradients[0]);
    *dkey = box(gradients[1]);
    *dvalue = box(gradients[2]);
  });
}

}  // namespace coppice
