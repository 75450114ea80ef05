// Kernels as functions of libtorch's autograd: what they need on the way back is kept, and nothing else.

#include "recorded.hpp"

#include "../products.hpp"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

namespace coppice {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Optional = std::optional<at::Tensor>;

bool is_recorded(const at::Tensor &x) {
  return gradients && c10::GradMode::is_enabled() && x.defined() && x.requires_grad();
}

at::Tensor hand_over(ct_tensor *into, at::Tensor result) {
  if (into && !into->value.is_view()) into->value = result;
  return result;
}

namespace {

// A box for a call that takes one; nothing where there is no tensor.
struct Boxed {
  std::optional<ct_tensor> box;
  explicit Boxed(const at::Tensor &value) {
    if (value.defined()) box = ct_tensor{value};
  }
  operator ct_tensor *() { return box ? &*box : nullptr; }
};

at::Tensor undefined_or(const Optional &x) { return x ? *x : at::Tensor(); }

struct NormFunction : torch::autograd::Function<NormFunction> {
  static at::Tensor forward(
    AutogradContext *ctx, const at::Tensor &x, const Optional &weight, double eps, std::optional<double> offset) {
    const RowShape shape(x);
    at::Tensor rstd = at::empty({shape.rows * shape.tokens}, x.options().dtype(at::kFloat));
    Boxed rstd_box(rstd), weight_box(undefined_or(weight));
    const double plus = offset.value_or(0);
    at::Tensor out = norm(x, nullptr, weight_box, eps, offset ? &plus : nullptr, nullptr, nullptr, nullptr, rstd_box);
    ctx->save_for_backward({x, undefined_or(weight), rstd});
    ctx->saved_data["offset"] = plus;
    return out;
  }
  static variable_list backward(AutogradContext *ctx, variable_list slopes) {
    auto saved = ctx->get_saved_variables();
    auto [dx, dw] = norm_backward(slopes[0], saved[0], saved[1], saved[2], ctx->saved_data["offset"].toDouble());
    if (dw.defined()) dw = dw.to(saved[1].scalar_type());
    return {dx, dw, {}, {}};
  }
};

struct ProjectionFunction : torch::autograd::Function<ProjectionFunction> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &a, const at::Tensor &weight, const Optional &bias) {
    ctx->save_for_backward({a, weight});
    ctx->saved_data["bias"] = bias && bias->defined();
    return project_by_onednn(a, weight, bias);
  }
  static variable_list backward(AutogradContext *ctx, variable_list slopes) {
    auto saved = ctx->get_saved_variables();
    const at::Tensor &a = saved[0], &weight = saved[1];
    const at::Tensor slope = slopes[0].reshape({-1, weight.size(0)});
    variable_list found(3);
    if (ctx->needs_input_grad(0)) found[0] = matrix_product(slope, weight).view(a.sizes());
    if (ctx->needs_input_grad(1)) found[1] = matrix_product(slope.t(), a.reshape({-1, a.size(-1)}));
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2)) found[2] = slope.sum(0);
    return found;
  }
};

struct GateFunction : torch::autograd::Function<GateFunction> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const Optional &up, int64_t kind) {
    Boxed up_box(undefined_or(up));
    ctx->save_for_backward({x, undefined_or(up)});
    ctx->saved_data["kind"] = kind;
    return gate(static_cast<ct_gate>(kind), x, up_box, nullptr, nullptr);
  }
  static variable_list backward(AutogradContext *ctx, variable_list slopes) {
    auto saved = ctx->get_saved_variables();
    const auto kind = static_cast<ct_gate>(ctx->saved_data["kind"].toInt());
    auto [dgate, dup] = gate_backward(kind, slopes[0], saved[0], saved[1]);
    return {dgate, dup, {}};
  }
};

struct RotationFunction : torch::autograd::Function<RotationFunction> {
  static at::Tensor forward(
    AutogradContext *ctx, const at::Tensor &x, const at::Tensor &cosine, const at::Tensor &sine, int64_t width) {
    ctx->save_for_backward({cosine, sine});
    ctx->saved_data["width"] = width;
    return rotate(x, cosine, sine, width, {}, 0, nullptr);
  }
  static variable_list backward(AutogradContext *ctx, variable_list slopes) {
    auto saved = ctx->get_saved_variables();
    // The gradient turns back by the same angles; where halves have angles of their own, by those of the other half.
    const int64_t width = ctx->saved_data["width"].toInt();
    at::Tensor sine = saved[1].size(1) == width ? saved[1].roll({width / 2}, {1}) : saved[1];
    return {rotate(slopes[0], saved[0], sine.neg(), width, {}, 0, nullptr), {}, {}, {}};
  }
};

// What queries do not see as libtorch's backward pass takes it: [S, S_kv] of zeros and minus infinities; undefined where
// causality says it all.
at::Tensor additive_mask(const at::Tensor &q, const at::Tensor &k, const AttentionOptions &options) {
  const bool narrow = options.window > 0 && options.window < k.size(1);
  if (!options.causal || (!narrow && q.size(1) == k.size(1))) return {};
  at::Tensor hidden = unseen(q, k, 0, q.size(1), options);
  return at::zeros(hidden.sizes(), q.options()).masked_fill_(hidden, -std::numeric_limits<double>::infinity());
}

// Scores are computed again block by block (Dao et al. 2022, arXiv 2205.14135) by libtorch's backward pass. It knows equally
// many heads on both sides and values as wide as keys: shared keys are repeated, and narrow values padded.
struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static at::Tensor forward(
    AutogradContext *ctx, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const Optional &sinks, bool causal,
    int64_t window, double scale) {
    const AttentionOptions options{causal, window, scale, 0};
    const int64_t shape[3] = {q.size(0), q.size(1), q.size(2)};
    at::Tensor lse = at::empty(at::IntArrayRef(shape, 3), q.options().dtype(at::kFloat));
    Boxed lse_box(lse);
    at::Tensor out = attend(q, k, v, undefined_or(sinks), {}, options, nullptr, lse_box);
    ctx->save_for_backward({q, k, v, undefined_or(sinks), out, lse});
    ctx->saved_data["causal"] = causal;
    ctx->saved_data["window"] = window;
    ctx->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext *ctx, variable_list slopes) {
    auto saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &sinks = saved[3], &out = saved[4], &lse = saved[5];
    const AttentionOptions options{
      ctx->saved_data["causal"].toBool(), ctx->saved_data["window"].toInt(), ctx->saved_data["scale"].toDouble(), 0};
    const at::Tensor &dy = slopes[0];
    const int64_t shared = q.size(2) / k.size(2), missing = k.size(3) - v.size(3);
    auto padded = [&](const at::Tensor &x) { return missing > 0 ? at::constant_pad_nd(x, {0, missing}) : x; };
    auto heads = [](const at::Tensor &x) { return x.transpose(1, 2); };
    auto spread = [&](const at::Tensor &x) {
      return shared == 1 ? heads(x) : heads(x).repeat_interleave(shared, 1);
    };
    at::Tensor mask = additive_mask(q, k, options);
    auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      heads(padded(dy)), heads(q), spread(k), spread(padded(v)), heads(padded(out)), heads(lse).contiguous(), 0.0,
      options.causal && !mask.defined(), given(mask), options.scale);
    auto gathered = [&](const at::Tensor &d, const at::Tensor &x) {
      at::Tensor own = d.narrow(3, 0, x.size(3));
      if (shared == 1) return own.transpose(1, 2);
      const int64_t shape[5] = {x.size(0), x.size(2), shared, x.size(1), x.size(3)};
      return own.reshape(at::IntArrayRef(shape, 5)).sum({2}, false, at::kFloat).to(x.scalar_type()).transpose(1, 2);
    };
    at::Tensor dsinks;
    if (sinks.defined()) {
      // They take their share of softmax from all keys alike.
      at::Tensor change = dy.to(at::kFloat).mul(out.to(at::kFloat)).sum(at::IntArrayRef({3}));
      at::Tensor share = sinks.to(at::kFloat).sub(lse).exp();
      dsinks = share.mul(change).sum(at::IntArrayRef({0, 1})).neg().to(sinks.scalar_type());
    }
    return {dq.transpose(1, 2), gathered(dk, k), gathered(dv, v), dsinks, {}, {}, {}};
  }
};

}  // namespace

std::pair<at::Tensor, at::Tensor> recorded_norm(
  const at::Tensor &x, const at::Tensor &residual, const at::Tensor &weight, double eps, std::optional<double> offset) {
  at::Tensor sum = residual.defined() ? at::add(x, residual) : x;
  return {NormFunction::apply(sum, given(weight), eps, offset), sum};
}

at::Tensor recorded_projection(const at::Tensor &a, const at::Tensor &weight, const Optional &bias) {
  return ProjectionFunction::apply(a, weight, bias);
}

at::Tensor recorded_gate(ct_gate kind, const at::Tensor &gate, const at::Tensor &up) {
  return GateFunction::apply(gate, given(up), static_cast<int64_t>(kind));
}

at::Tensor recorded_rotation(const at::Tensor &x, const at::Tensor &cosine, const at::Tensor &sine, int64_t width) {
  return RotationFunction::apply(x, cosine, sine, width);
}

at::Tensor recorded_attention(
  const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &sinks, const AttentionOptions &options) {
  const bool fits = q.is_cpu() && element_of(q) && options.softcap == 0 && v.size(3) <= k.size(3) && !is_slow(q);
  if (!fits) return attend_with_operators(q, k, v, sinks, options, {});
  return AttentionFunction::apply(q, k, v, given(sinks), options.causal, options.window, options.scale);
}

}  // namespace coppice
