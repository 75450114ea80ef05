// Reductions, sorting and tests.

#include "shim.hpp"

#include <vector>

namespace coppice {
namespace {

std::vector<int64_t> axes(const at::Tensor &a, ct_dims values, size_t count) {
  if (count > 0) return {values, values + count};
  std::vector<int64_t> all(static_cast<size_t>(a.dim()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  return all;
}

at::Tensor reduce(ct_reduction op, const at::Tensor &a, at::IntArrayRef over, bool keep, int32_t dtype) {
  auto type = optional_type(dtype);
  switch (op) {
    case CT_SUM: return at::sum(a, over, keep, type);
    case CT_MEAN: return at::mean(a, over, keep, type);
    case CT_AMAX: return at::amax(type ? a.to(*type) : a, over, keep);
    case CT_AMIN: return at::amin(type ? a.to(*type) : a, over, keep);
    case CT_LOGSUMEXP: return at::logsumexp(type ? a.to(*type) : a, over, keep);
  }
  throw std::invalid_argument("unknown reduction number " + std::to_string(op));
}

void pair(std::tuple<at::Tensor, at::Tensor> results, ct_out values, ct_out indices) {
  *values = box(std::get<0>(results));
  *indices = box(std::get<1>(results));
}

}  // namespace

void fill_reductions(ct_api &api) {
  api.reduce = [](
                 ct_reduction op, ct_tensor *a, ct_dims over, size_t count, bool keep, int32_t dtype,
                 ct_out out) -> ct_error
    CT_CALL(*out = box(reduce(op, a->value, axes(a->value, over, count), keep, dtype)));
  api.norm = [](ct_tensor *a, double p, ct_dims over, size_t count, bool keep, int32_t dtype, ct_out out) -> ct_error
    CT_CALL(*out = box(at::linalg_vector_norm(a->value, p, axes(a->value, over, count), keep, optional_type(dtype))));
  api.argmax = [](ct_tensor *a, int64_t dim, bool keep, ct_out out) -> ct_error
    CT_CALL(*out = box(at::argmax(a->value, dim, keep)));
  api.cumsum = [](ct_tensor *a, int64_t dim, int32_t dtype, ct_out out) -> ct_error
    CT_CALL(*out = box(at::cumsum(a->value, dim, optional_type(dtype))));
  api.top_k = [](ct_tensor *a, int64_t k, int64_t dim, bool largest, ct_out values, ct_out indices) -> ct_error
    CT_CALL(pair(at::topk(a->value, k, dim, largest, /*sorted=*/true), values, indices));
  api.sort = [](ct_tensor *a, int64_t dim, bool descending, ct_out values, ct_out indices) -> ct_error
    CT_CALL(pair(at::sort(a->value, /*stable=*/true, dim, descending), values, indices));
  api.eigh = [](ct_tensor *a, ct_out values, ct_out vectors) -> ct_error
    CT_CALL(pair(at::linalg_eigh(a->value, "L"), values, vectors));
  api.softmax = [](ct_tensor *a, int64_t dim, int32_t dtype, ct_out out) -> ct_error
    CT_CALL(*out = box(at::softmax(a->value, dim, optional_type(dtype))));
  api.log_softmax = [](ct_tensor *a, int64_t dim, int32_t dtype, ct_out out) -> ct_error
    CT_CALL(*out = box(at::log_softmax(a->value, dim, optional_type(dtype))));
  api.all = [](ct_tensor *a, bool *out) -> ct_error CT_CALL(*out = at::all(a->value).item<bool>());
  api.any = [](ct_tensor *a, bool *out) -> ct_error CT_CALL(*out = at::any(a->value).item<bool>());
  api.all_finite = [](ct_tensor *a, bool *out) -> ct_error CT_CALL(*out = at::all(at::isfinite(a->value)).item<bool>());
  api.equal = [](ct_tensor *a, ct_tensor *b, bool *out) -> ct_error CT_CALL(*out = at::equal(a->value, b->value));
}

}  // namespace coppice
