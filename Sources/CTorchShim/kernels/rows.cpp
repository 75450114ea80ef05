#include "rows.hpp"

#include "parallel.hpp"

#include <ATen/MemoryOverlap.h>
#include <ATen/TensorUtils.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstring>

namespace coppice {

RowShape::RowShape(const at::Tensor &x) {
  TORCH_CHECK(x.dim() > 0, "a tensor of no dimensions has no channels");
  channels = x.size(-1);
  rows = x.dim() == 3 ? x.size(0) : 1;
  tokens = x.dim() == 3 ? x.size(1) : channels > 0 ? x.numel() / channels : 0;
}

std::optional<kernels::Element> element_of(const at::Tensor &x) {
  if (x.scalar_type() == at::kFloat) return kernels::kFloat32;
  if (x.scalar_type() == at::kBFloat16) return kernels::kBFloat16;
  return std::nullopt;
}

bool plain(const at::Tensor &x) {
  return x.is_cpu() && x.layout() == at::kStrided && !x.is_conj() && !x.is_neg() &&
    !(c10::GradMode::is_enabled() && x.requires_grad());
}

std::optional<kernels::Tokens> rows_of(const at::Tensor &x, const RowShape &shape) {
  int64_t sizes[3] = {shape.rows, shape.tokens, shape.channels};
  auto strides = at::detail::computeStride(x.sizes(), x.strides(), at::IntArrayRef(sizes, 3));
  if (!strides || (shape.channels > 1 && (*strides)[2] != 1)) return std::nullopt;
  return kernels::Tokens{const_cast<void *>(x.const_data_ptr()), (*strides)[0], (*strides)[1]};
}

kernels::Tokens dense_rows(at::Tensor &x, const RowShape &shape) {
  if (auto rows = rows_of(x, shape)) return *rows;
  x = x.contiguous();
  return {const_cast<void *>(x.const_data_ptr()), shape.tokens * shape.channels, shape.channels};
}

std::optional<RowTap> tap_of(const ct_tap *tap, const at::Tensor &x) {
  if (!tap) return std::nullopt;
  TORCH_CHECK(x.dim() == 3, "only a tensor [B, S, C] can be tapped, not one of shape ", x.sizes());
  RowTap checked{writable(tap->sums), {tap->lengths, tap->count}};
  TORCH_CHECK(
    static_cast<int64_t>(checked.lengths.size()) == x.size(0), "there are ", checked.lengths.size(), " lengths for ",
    x.size(0), " rows");
  TORCH_CHECK(
    checked.sums.scalar_type() == at::kFloat && checked.sums.dim() == 2 && checked.sums.size(0) == x.size(0) &&
      checked.sums.size(1) == x.size(2) && checked.sums.device() == x.device(),
    "the tap of a tensor of shape ", x.sizes(), " takes float32 sums of shape [", x.size(0), ", ", x.size(2),
    "] on the same device, not ", checked.sums.sizes());
  for (int64_t length : checked.lengths) {
    TORCH_CHECK(length >= 0 && length <= x.size(1), "a row of ", x.size(1), " tokens cannot have ", length, " valid ones");
  }
  return checked;
}

void check_destination(const at::Tensor &into, const at::Tensor &x) {
  TORCH_CHECK(
    into.sizes() == x.sizes() && into.scalar_type() == x.scalar_type() && into.device() == x.device(),
    "the result has shape ", x.sizes(), " and type ", x.scalar_type(), "; the tensor to write it to has ", into.sizes(),
    " and ", into.scalar_type());
  at::assert_no_internal_overlap(into);
  at::assert_no_partial_overlap(into, x);
}

at::Tensor destination(ct_tensor *into, const at::Tensor &x) {
  if (!into) return at::empty(x.sizes(), x.options().memory_format(at::MemoryFormat::Contiguous));
  at::Tensor result = writable(into);
  check_destination(result, x);
  return result;
}

void tap_with_operators(const RowTap &tap, const at::Tensor &x) {
  // Full rows, which is what calibration has, take one reduction.
  if (std::ranges::all_of(tap.lengths, [&](int64_t length) { return length == x.size(1); })) {
    tap.sums.add_(at::linalg_vector_norm(x, 1, at::IntArrayRef{1}, false, at::kFloat));
    return;
  }
  for (int64_t b = 0; b < x.size(0); ++b) {
    at::Tensor valid = x.select(0, b).narrow(0, 0, tap.lengths[b]);
    tap.sums.select(0, b).add_(at::linalg_vector_norm(valid, 1, at::IntArrayRef{0}, false, at::kFloat));
  }
}

void for_blocks(const RowShape &shape, const RowTap *tap, c10::function_ref<void(const kernels::Block &)> work) {
  if (shape.elements() == 0) return;
  // Partial sums cost a 64th of what is read, less where rows are short; without them short blocks share the work better.
  const int64_t block =
    tap ? std::clamp<int64_t>(65536 / shape.channels, 64, 256) : std::max<int64_t>(1, 32768 / shape.channels);
  const int64_t blocks = (shape.tokens + block - 1) / block;
  const int64_t channels = shape.channels;
  at::Tensor partial = tap ? at::empty({shape.rows * blocks, channels}, at::kFloat) : at::Tensor();
  float *sums = tap ? partial.mutable_data_ptr<float>() : nullptr;
  parallel(shape.rows * blocks, shape.elements(), [&](int64_t task) {
    int64_t b = task / blocks;
    int64_t first = task % blocks * block;
    kernels::Block part{b, first, std::min(first + block, shape.tokens), 0, nullptr};
    if (sums) {
      part.valid = tap->lengths[b];
      part.sums = sums + task * channels;
      std::memset(part.sums, 0, static_cast<size_t>(channels) * sizeof(float));
    }
    work(part);
  });
  if (!tap) return;
  at::Tensor total = tap->sums.contiguous();
  float *totals = total.mutable_data_ptr<float>();
  const int64_t strip = 512;
  const int64_t strips = (channels + strip - 1) / strip;
  parallel(shape.rows * strips, shape.rows * blocks * channels, [&](int64_t task) {
    int64_t b = task / strips;
    int64_t first = task % strips * strip;
    int64_t last = std::min(first + strip, channels);
    float *to = totals + b * channels;
    for (int64_t i = 0; i < blocks; ++i) {
      const float *from = sums + (b * blocks + i) * channels;
      for (int64_t c = first; c < last; ++c) to[c] += from[c];
    }
  });
  if (!total.is_same(tap->sums)) tap->sums.copy_(total);
}

}  // namespace coppice
