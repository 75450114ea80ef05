// The building blocks of networks.

#include "products.hpp"

namespace coppice {
namespace {

// As the field writes it (Zhang & Sennrich 2019; LlamaRMSNorm of transformers): the statistics and the
// scaling in float32, rounded to the input's type before the weight is applied, so that logits agree to
// the last bit where the kernels do.
at::Tensor rms_norm(const at::Tensor &a, const std::optional<at::Tensor> &weight, double eps) {
  at::Tensor wide = a.to(at::kFloat);
  at::Tensor scale = at::rsqrt(at::mean(at::square(wide), {-1}, /*keepdim=*/true).add_(eps));
  at::Tensor normed = at::mul(wide, scale).to(a.scalar_type());
  return weight ? at::mul(*weight, normed) : normed;
}

// libtorch's CPU kernels divide by sizes before they look at them (a zero ends the process), and broadcast where
// a mistake is likelier than the intention: so shapes are checked here.
at::Tensor attention(
  const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, const std::optional<at::Tensor> &mask,
  bool is_causal, std::optional<double> scale, bool enable_gqa) {
  TORCH_CHECK(
    query.dim() == 4 && key.dim() == 4 && value.dim() == 4, "query, key and value must have 4 dimensions, not ",
    query.sizes(), ", ", key.sizes(), " and ", value.sizes());
  int64_t heads = query.size(1);
  int64_t groups = key.size(1);
  TORCH_CHECK(
    key.size(0) == query.size(0) && value.size(0) == query.size(0) && value.size(1) == groups &&
      value.size(2) == key.size(2) && key.size(3) == query.size(3) && key.size(3) > 0,
    "query ", query.sizes(), ", key ", key.sizes(), " and value ", value.sizes(), " do not fit each other");
  TORCH_CHECK(
    heads == groups || (enable_gqa && groups > 0 && heads % groups == 0), heads, " query heads do not fit ", groups,
    " key and value heads", enable_gqa ? "" : " (grouped heads were not asked for)");
  if (query.numel() == 0 || value.numel() == 0) {
    return at::zeros({query.size(0), heads, query.size(2), value.size(3)}, query.options());
  }
  if (is_slow(query)) {
    // A mask of booleans is one in any type.
    auto wide = [](const at::Tensor &a) { return is_slow(a) ? widened(a) : a; };
    return at::scaled_dot_product_attention(
             widened(query), wide(key), wide(value), mask ? std::optional(wide(*mask)) : mask, 0.0, is_causal, scale,
             heads != groups)
      .to(query.scalar_type());
  }
  return at::scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, scale, heads != groups);
}

at::Tensor convolve(
  const at::Tensor &a, const at::Tensor &weight, const std::optional<at::Tensor> &bias, int64_t stride, int64_t padding,
  int64_t groups) {
  if (!is_slow(a) || !is_slow(weight)) return at::conv1d(a, weight, bias, stride, padding, 1, groups);
  return at::conv1d(widened(a), widened(weight), widened(bias), stride, padding, 1, groups).to(a.scalar_type());
}

}  // namespace

void fill_networks(ct_api &api) {
  api.matmul = [](ct_tensor *a, ct_tensor *b, ct_out out) -> ct_error
    CT_CALL(*out = box(matrix_product(a->value, b->value)));
  api.add_matmul_ = [](ct_tensor *total, ct_tensor *a, ct_tensor *b) -> ct_error CT_CALL({
    if (is_kept(total->value, a->value) || is_kept(total->value, b->value)) {
      total->value = total->value.add(matrix_product(a->value, b->value)).to(total->value.scalar_type());
    } else {
      add_matrix_product(writable(total), a->value, b->value);
    }
  });
  api.linear = [](ct_tensor *a, ct_tensor *weight, ct_tensor *bias, ct_out out) -> ct_error
    CT_CALL(*out = box(project(a->value, weight->value, optional(bias))));
  api.cholesky = [](ct_tensor *a, int32_t *info, ct_out out) -> ct_error CT_CALL({
    auto [factor, failed] = at::linalg_cholesky_ex(a->value);
    *info = failed.item<int32_t>();
    if (*info == 0) *out = box(std::move(factor));
  });
  api.cholesky_solve = [](ct_tensor *factor, ct_tensor *b, ct_out out) -> ct_error
    CT_CALL(*out = box(at::cholesky_solve(b->value, factor->value)));
  api.pack_linear = [](ct_tensor *weight, int64_t rows, int32_t inputs, ct_out out) -> ct_error
    CT_CALL(*out = box(pack_linear(weight->value, rows, scalar_type(inputs))));
  api.is_packed = [](ct_tensor *tensor) { return tensor->value.is_mkldnn(); };
  api.embedding = [](ct_tensor *weight, ct_tensor *indices, ct_out out) -> ct_error
    CT_CALL(*out = box(at::embedding(weight->value, indices->value)));
  api.rms_norm = [](ct_tensor *a, ct_tensor *weight, double eps, ct_out out) -> ct_error
    CT_CALL(*out = box(rms_norm(a->value, optional(weight), eps)));
  api.layer_norm = [](ct_tensor *a, ct_tensor *weight, ct_tensor *bias, double eps, ct_out out) -> ct_error CT_CALL({
    TORCH_CHECK(a->value.dim() > 0, "layer norm needs at least one dimension");
    *out = box(at::layer_norm(a->value, {a->value.size(-1)}, optional(weight), optional(bias), eps));
  });
  api.attention = [](
                    ct_tensor *query, ct_tensor *key, ct_tensor *value, ct_tensor *mask, bool is_causal,
                    const double *scale, bool enable_gqa, ct_out out) -> ct_error
    CT_CALL(*out = box(attention(
              query->value, key->value, value->value, optional(mask), is_causal, optional(scale), enable_gqa)));
  api.cosine_similarity = [](ct_tensor *a, ct_tensor *b, int64_t dim, double eps, ct_out out) -> ct_error
    CT_CALL(*out = box(at::cosine_similarity(a->value, b->value, dim, eps)));
  api.conv1d = [](
                 ct_tensor *a, ct_tensor *weight, ct_tensor *bias, int64_t stride, int64_t padding, int64_t groups,
                 ct_out out) -> ct_error
    CT_CALL(*out = box(convolve(a->value, weight->value, optional(bias), stride, padding, groups)));
  api.cross_entropy = [](ct_tensor *logits, ct_tensor *targets, int64_t ignore_index, ct_out out) -> ct_error
    CT_CALL(*out = box(
              at::cross_entropy_loss(logits->value, targets->value, std::nullopt, at::Reduction::None, ignore_index)));
  api.multinomial = [](ct_tensor *probabilities, int64_t count, bool replacement, ct_out out) -> ct_error
    CT_CALL(*out = box(at::multinomial(probabilities->value, count, replacement)));
}

}  // namespace coppice
