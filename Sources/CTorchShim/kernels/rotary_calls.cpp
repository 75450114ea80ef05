// Rotary positions: by the kernels where they fit, else by libtorch's operators.

#include "accelerated.hpp"
#include "recorded.hpp"

#include <ATen/MemoryOverlap.h>

namespace coppice {

using namespace kernels;

std::optional<Heads> heads_of(const at::Tensor &x) {
  if (x.size(3) > 1 && x.stride(3) != 1) return std::nullopt;
  return Heads{const_cast<void *>(x.const_data_ptr()), x.stride(0), x.stride(1), x.stride(2)};
}

Heads dense_heads(at::Tensor &x) {
  if (auto heads = heads_of(x)) return *heads;
  x = x.contiguous();
  return *heads_of(x);
}

at::Tensor rotate(
  at::Tensor x, at::Tensor cosine, at::Tensor sine, int64_t width, const at::Tensor &weight, double eps, ct_tensor *into) {
  TORCH_CHECK(x.dim() == 4, "rotary positions take a tensor [B, S, N, D], not one of shape ", x.sizes());
  TORCH_CHECK(
    width > 0 && width % 2 == 0 && width <= x.size(3), "of ", x.size(3), " channels, ", width, " cannot turn in pairs");
  TORCH_CHECK(
    cosine.dim() == 2 && cosine.sizes() == sine.sizes() && cosine.size(0) == x.size(1) &&
      (cosine.size(1) == width || cosine.size(1) == width / 2),
    "cosines and sines for a tensor of shape ", x.sizes(), " must have shape [", x.size(1), ", ", width, "] or [",
    x.size(1), ", ", width / 2, "], not ", cosine.sizes(), " and ", sine.sizes());
  TORCH_CHECK(
    !weight.defined() || (weight.dim() == 1 && weight.size(0) == x.size(3)), "the weight of the norm has shape ",
    weight.defined() ? weight.sizes() : at::IntArrayRef(), ", but there are ", x.size(3), " channels");
  if (is_recorded(x, weight)) {
    if (weight.defined()) x = recorded_norm(x, {}, weight, eps, std::nullopt).first;
    return hand_over(into, recorded_rotation(x, cosine, sine, width));
  }
  const Table *table = chosen();
  auto element = element_of(x);
  auto same = [&](const at::Tensor &other) { return plain(other) && other.scalar_type() == x.scalar_type(); };
  if (table && element && plain(x) && same(cosine) && same(sine) && (!weight.defined() || same(weight))) {
    at::Tensor out = destination(into, x);
    if (auto out_heads = heads_of(out); out_heads && x.numel() > 0) {
      cosine = cosine.contiguous();
      sine = sine.contiguous();
      at::Tensor dense_weight = weight.defined() ? weight.contiguous() : weight;
      RotaryCall call{
        .x = dense_heads(x),
        .out = *out_heads,
        .cosine = cosine.const_data_ptr(),
        .sine = sine.const_data_ptr(),
        .cosine_row = cosine.size(1),
        .second = cosine.size(1) == width ? width / 2 : 0,
        .norm_weight = weight.defined() ? dense_weight.const_data_ptr() : nullptr,
        .heads = x.size(2),
        .channels = x.size(3),
        .width = width,
        .eps = static_cast<float>(eps),
      };
      RowShape shape(x);
      shape.rows = x.size(0);
      shape.tokens = x.size(1);
      shape.channels = x.size(2) * x.size(3);
      for_blocks(shape, nullptr, [&](const Block &block) { table->rotary[*element](call, block); });
    }
    if (x.numel() == 0 || heads_of(out)) return out;
  }
  if (weight.defined()) x = norm_with_operators(x, weight, eps).first;
  // Each half of what turns is written once and changed once.
  const int64_t half = width / 2, second = cosine.size(1) == width ? half : 0;
  at::Tensor out = at::empty(x.sizes(), x.options().memory_format(at::MemoryFormat::Contiguous));
  auto turn = [&](int64_t own, int64_t other, int64_t angle, double sign) {
    auto columns = [&](const at::Tensor &t) { return t.narrow(1, angle, half).unsqueeze(1); };  // [S, 1, width / 2]
    at::Tensor part = out.narrow(3, own, half);
    at::mul_out(part, x.narrow(3, own, half), columns(cosine));
    const at::Tensor others = x.narrow(3, other, half);
    // Accelerators save a pass over memory; here products are rounded before they are added, as the kernels and PyTorch do.
    if (x.is_cpu()) {
      part.add_(others.mul(columns(sine)), sign);
    } else {
      part.addcmul_(others, columns(sine), sign);
    }
  };
  turn(0, half, 0, -1);
  turn(half, 0, second, 1);
  if (width < x.size(3)) {
    out.narrow(3, width, x.size(3) - width).copy_(x.narrow(3, width, x.size(3) - width));
  }
  return into ? destination(into, out).copy_(out) : out;
}

void fill_rotary_kernels(ct_api &api) {
  api.rotary_kernel = [](
                        ct_tensor *x, ct_tensor *cosine, ct_tensor *sine, int64_t width, ct_tensor *norm_weight,
                        double eps, ct_tensor *into, ct_out out) -> ct_error
    CT_CALL(*out = box(rotate(
              x->value, cosine->value, sine->value, width, norm_weight ? norm_weight->value : at::Tensor(), eps, into)));
}

}  // namespace coppice
