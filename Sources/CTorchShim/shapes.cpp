// Shapes and indexing.

#include "shim.hpp"

#include <vector>

namespace coppice {
namespace {

std::vector<at::Tensor> list(ct_tensor *_Nonnull const *tensors, size_t count) {
  std::vector<at::Tensor> values;
  values.reserve(count);
  for (size_t i = 0; i < count; ++i) values.push_back(tensors[i]->value);
  return values;
}

}  // namespace

void fill_shapes(ct_api &api) {
  api.reshape = [](ct_tensor *a, ct_dims shape, size_t dim, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.reshape(dims(shape, dim))));
  api.view = [](ct_tensor *a, ct_dims shape, size_t dim, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.view(dims(shape, dim))));
  api.transpose = [](ct_tensor *a, int64_t first, int64_t second, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.transpose(first, second)));
  api.permute = [](ct_tensor *a, ct_dims order, size_t dim, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.permute(dims(order, dim))));
  api.unsqueeze = [](ct_tensor *a, int64_t dim, ct_out out) -> ct_error CT_CALL(*out = box(a->value.unsqueeze(dim)));
  api.squeeze = [](ct_tensor *a, int64_t dim, ct_out out) -> ct_error CT_CALL(*out = box(a->value.squeeze(dim)));
  api.expand = [](ct_tensor *a, ct_dims shape, size_t dim, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.expand(dims(shape, dim))));
  api.narrow = [](ct_tensor *a, int64_t dim, int64_t start, int64_t length, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.narrow(dim, start, length)));
  api.select = [](ct_tensor *a, int64_t dim, int64_t index, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.select(dim, index)));
  api.cat = [](ct_tensor *_Nonnull const *tensors, size_t count, int64_t dim, ct_out out) -> ct_error
    CT_CALL(*out = box(at::cat(list(tensors, count), dim)));
  api.stack = [](ct_tensor *_Nonnull const *tensors, size_t count, int64_t dim, ct_out out) -> ct_error
    CT_CALL(*out = box(at::stack(list(tensors, count), dim)));
  api.repeat_interleave = [](ct_tensor *a, int64_t repeats, int64_t dim, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.repeat_interleave(repeats, dim)));
  api.flip = [](ct_tensor *a, ct_dims axes, size_t count, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.flip(dims(axes, count))));
  api.tril = [](ct_tensor *a, int64_t diagonal, ct_out out) -> ct_error CT_CALL(*out = box(a->value.tril(diagonal)));
  api.triu = [](ct_tensor *a, int64_t diagonal, ct_out out) -> ct_error CT_CALL(*out = box(a->value.triu(diagonal)));

  api.index_select = [](ct_tensor *a, int64_t dim, ct_tensor *index, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.index_select(dim, index->value)));
  api.gather = [](ct_tensor *a, int64_t dim, ct_tensor *index, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.gather(dim, index->value)));
  api.index_add_ = [](ct_tensor *a, int64_t dim, ct_tensor *index, ct_tensor *source) -> ct_error
    CT_CALL(writable(a).index_add_(dim, index->value, source->value));
  api.index_copy_ = [](ct_tensor *a, int64_t dim, ct_tensor *index, ct_tensor *source) -> ct_error
    CT_CALL(writable(a).index_copy_(dim, index->value, source->value));
  api.scatter = [](ct_tensor *a, int64_t dim, ct_tensor *index, ct_tensor *source, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.scatter(dim, index->value, source->value)));
  api.scatter_add = [](ct_tensor *a, int64_t dim, ct_tensor *index, ct_tensor *source, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.scatter_add(dim, index->value, source->value)));
  api.nonzero = [](ct_tensor *a, ct_out out) -> ct_error CT_CALL(*out = box(a->value.nonzero()));
  api.bincount = [](ct_tensor *a, int64_t minimum_length, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.bincount(std::nullopt, minimum_length)));
  api.masked_fill = [](ct_tensor *a, ct_tensor *mask, double value, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.masked_fill(mask->value, value)));
  api.where = [](ct_tensor *condition, ct_tensor *a, ct_tensor *b, ct_out out) -> ct_error
    CT_CALL(*out = box(at::where(condition->value, a->value, b->value)));
}

}  // namespace coppice
