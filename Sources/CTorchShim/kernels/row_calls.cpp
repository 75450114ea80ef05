// Norms, gated activations and statistics: by the kernels where they fit, else by libtorch's operators.

#include "accelerated.hpp"
#include "parallel.hpp"
#include "recorded.hpp"

#include <ATen/MemoryOverlap.h>

#include <algorithm>
#include <limits>

namespace coppice {

using namespace kernels;

at::Tensor norm(
  at::Tensor x, ct_tensor *residual_box, ct_tensor *weight_box, double eps, const double *offset, ct_tensor *sum_box,
  ct_tensor *into, const ct_tap *tap_box, ct_tensor *rstd_box) {
  RowShape shape(x);
  at::Tensor residual = residual_box ? residual_box->value : at::Tensor();
  at::Tensor sum;
  TORCH_CHECK(!residual_box == !sum_box, "a residual needs a tensor for the sum, and the other way round");
  if (residual_box) {
    TORCH_CHECK(
      residual.sizes() == x.sizes() && residual.scalar_type() == x.scalar_type(), "the residual has shape ",
      residual.sizes(), " and type ", residual.scalar_type(), ", the hidden states ", x.sizes(), " and ", x.scalar_type());
    sum = writable(sum_box);
    check_destination(sum, x);
    at::assert_no_partial_overlap(sum, residual);
  }
  auto tap = tap_of(tap_box, x);
  at::Tensor rstd = rstd_box ? writable(rstd_box) : at::Tensor();
  TORCH_CHECK(
    !rstd_box || (rstd.scalar_type() == at::kFloat && rstd.is_contiguous() && rstd.numel() == shape.rows * shape.tokens),
    "the reciprocal roots take a contiguous float32 tensor of ", shape.rows * shape.tokens, " elements");
  at::Tensor weight = weight_box ? weight_box->value : at::Tensor();
  TORCH_CHECK(
    !weight_box || (weight.dim() == 1 && weight.size(0) == shape.channels), "the weight has shape ", weight.sizes(),
    ", but there are ", shape.channels, " channels");

  if (is_recorded(x, residual, weight)) {
    auto [out, added] =
      recorded_norm(x, residual, weight, eps, offset ? std::optional<double>(*offset) : std::nullopt);
    if (sum_box) sum_box->value = added;
    if (tap) tap_with_operators(*tap, out.detach());
    return hand_over(into, out);
  }
  const Table *table = chosen();
  auto element = element_of(x);
  bool fits = table && element && plain(x) && (!residual_box || plain(residual)) &&
    (!weight_box || (plain(weight) && weight.scalar_type() == x.scalar_type())) && (!rstd_box || plain(rstd));
  if (fits) {
    at::Tensor out = destination(into, x);
    auto out_rows = rows_of(out, shape);
    auto sum_rows = sum_box ? rows_of(sum, shape) : Tokens{};
    if (out_rows && sum_rows) {
      if (weight_box) weight = weight.contiguous();
      NormCall call{
        .x = dense_rows(x, shape),
        .residual = residual_box ? dense_rows(residual, shape) : Tokens{},
        .sum = *sum_rows,
        .out = *out_rows,
        .weight = weight_box ? weight.const_data_ptr() : nullptr,
        .rstd = rstd_box ? rstd.mutable_data_ptr<float>() : nullptr,
        .tokens = shape.tokens,
        .channels = shape.channels,
        .eps = static_cast<float>(eps),
        .wide = offset != nullptr,
        .offset = offset ? static_cast<float>(*offset) : 0.0f,
      };
      for_blocks(shape, tap ? &*tap : nullptr, [&](const Block &block) { table->norm[*element](call, block); });
      return out;
    }
  }
  if (residual_box) {
    at::add_out(sum, x, residual);
    x = sum;
  }
  // What is rounded after the weight is float32 until then.
  auto [out, scale] =
    offset ? norm_with_operators(in_float32(x), {}, eps) : norm_with_operators(x, weight, eps);
  if (offset) out = (weight_box ? at::mul(out, in_float32(weight).add(*offset)) : out).to(x.scalar_type());
  if (rstd_box) rstd.copy_(scale.view(rstd.sizes()));
  if (tap) tap_with_operators(*tap, out);
  if (into) return destination(into, out).copy_(out);
  return out;
}

namespace {

at::Tensor activate(ct_gate kind, const at::Tensor &x) {
  switch (kind) {
    case CT_GATE_SILU: return at::silu(x);
    case CT_GATE_GELU: return at::gelu(x);
    case CT_GATE_GELU_TANH: return at::gelu(x, "tanh");
    case CT_GATE_RELU_SQUARED: return at::square(at::relu(x));
    case CT_GATE_RELU: return at::relu(x);
  }
  throw std::invalid_argument("unknown activation number " + std::to_string(kind));
}

}  // namespace

at::Tensor gate(ct_gate kind, at::Tensor x, ct_tensor *up_box, ct_tensor *into, const ct_tap *tap_box) {
  TORCH_CHECK(kind >= 0 && kind < kGates, "unknown activation number ", static_cast<int>(kind));
  RowShape shape(x);
  at::Tensor up = up_box ? up_box->value : at::Tensor();
  TORCH_CHECK(
    !up_box || (up.sizes() == x.sizes() && up.scalar_type() == x.scalar_type()), "gate has shape ", x.sizes(),
    " and type ", x.scalar_type(), ", but the other factor ", up.sizes(), " and ", up.scalar_type());
  auto tap = tap_of(tap_box, x);
  if (is_recorded(x, up)) {
    at::Tensor out = recorded_gate(kind, x, up);
    if (tap) tap_with_operators(*tap, out.detach());
    return hand_over(into, out);
  }
  const Table *table = chosen();
  auto element = element_of(x);
  if (table && element && plain(x) && (!up_box || plain(up))) {
    at::Tensor out = destination(into, x);
    if (up_box) at::assert_no_partial_overlap(out, up);
    if (auto out_rows = rows_of(out, shape)) {
      GateCall call{
        .gate = dense_rows(x, shape),
        .up = up_box ? dense_rows(up, shape) : Tokens{},
        .out = *out_rows,
        .channels = shape.channels,
      };
      for_blocks(shape, tap ? &*tap : nullptr, [&](const Block &block) { table->gate[*element][kind](call, block); });
      return out;
    }
  }
  at::Tensor out = activate(kind, x);
  if (up_box) {
    at::Tensor result = destination(into, x);
    out = at::mul_out(result, out, up);
  } else if (into) {
    out = destination(into, x).copy_(out);
  }
  if (tap) tap_with_operators(*tap, out);
  return out;
}

namespace {

void column_sums(at::Tensor x, const ct_tap *tap_box) {
  auto tap = tap_of(tap_box, x);
  TORCH_CHECK(tap, "column sums need a tap");
  RowShape shape(x);
  const Table *table = chosen();
  auto element = element_of(x);
  if (!table || !element || !plain(x)) return tap_with_operators(*tap, x);
  ColumnCall call{.x = dense_rows(x, shape), .channels = shape.channels};
  for_blocks(shape, &*tap, [&](const Block &block) { table->columns[*element](call, block); });
}

// total += Σ over rows of (sums / length)². Each row's squares are rounded to float32 and added up in the total's type: in
// float64 the sum of numbers this short is exact, and independent of their order, as long as they are within a factor of
// 2^29 / rows of each other.
template <typename Total> void add_mean_squares(const ct_tap *tap, const at::Tensor &sums, at::Tensor &total) {
  // The typed accessor has another mangled name in Clang than in the compiler of libtorch.
  const float *from = static_cast<const float *>(sums.const_data_ptr());
  Total *to = static_cast<Total *>(total.mutable_data_ptr());
  const int64_t channels = sums.size(1);
  for (int64_t b = 0; b < sums.size(0); ++b, from += channels) {
    if (tap->lengths[b] <= 0) continue;
    const float share = 1.0f / static_cast<float>(tap->lengths[b]);
    for (int64_t c = 0; c < channels; ++c) {
      const float mean = from[c] * share;
      const float square = mean * mean;
      to[c] += static_cast<Total>(square);
    }
  }
}

void add_mean_squares(const ct_tap *tap, ct_tensor *total_box) {
  const at::Tensor &sums = tap->sums->value;
  at::Tensor &total = writable(total_box);
  TORCH_CHECK(
    sums.dim() == 2 && sums.size(0) == static_cast<int64_t>(tap->count) && sums.scalar_type() == at::kFloat &&
      total.dim() == 1 && total.size(0) == sums.size(1) &&
      (total.scalar_type() == at::kFloat || total.scalar_type() == at::kDouble) && total.device() == sums.device(),
    "sums of shape ", sums.sizes(), " and of ", tap->count, " rows cannot be added to a tensor of shape ", total.sizes(),
    ": it must be float64 or float32, of as many channels, on the same device");
  if (plain(sums) && plain(total) && sums.is_contiguous() && total.is_contiguous()) {
    if (total.scalar_type() == at::kDouble) return add_mean_squares<double>(tap, sums, total);
    return add_mean_squares<float>(tap, sums, total);
  }
  // Rows of one length, which is what calibration has, need nothing from the host.
  at::IntArrayRef lengths(tap->lengths, tap->count);
  if (std::ranges::all_of(lengths, [&](int64_t length) { return length == lengths[0]; })) {
    if (!lengths.empty() && lengths[0] > 0) {
      total.add_(at::mul(sums, 1.0 / lengths[0]).square_().sum(at::IntArrayRef{0}, false, total.scalar_type()));
    }
    return;
  }
  for (int64_t b = 0; b < sums.size(0); ++b) {
    if (lengths[b] > 0) total.add_(at::mul(sums.select(0, b), 1.0 / lengths[b]).square_());
  }
}

at::Tensor token_cosines(at::Tensor a, at::Tensor b, double eps) {
  TORCH_CHECK(
    a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type(), "the tensors differ: ", a.sizes(), " of ",
    a.scalar_type(), " and ", b.sizes(), " of ", b.scalar_type());
  RowShape shape(a);
  const Table *table = chosen();
  auto element = element_of(a);
  if (!table || !element || !plain(a) || !plain(b)) {
    // What libtorch has for it would write both to memory in float32, and both divided by their lengths.
    auto length = [&](const at::Tensor &x) {
      return at::linalg_vector_norm(x, 2, at::IntArrayRef{-1}, false, at::kFloat).clamp_min_(eps);
    };
    a = a.to(at::kFloat);
    b = b.scalar_type() == at::kDouble ? b.to(at::kFloat) : b;
    return at::mul(a, b).sum(at::IntArrayRef{-1}).div_(length(a)).div_(length(b));
  }
  at::Tensor out = at::zeros(a.sizes().slice(0, static_cast<size_t>(a.dim() - 1)), at::kFloat);
  CosineCall call{
    .a = dense_rows(a, shape),
    .b = dense_rows(b, shape),
    .out = out.mutable_data_ptr<float>(),
    .tokens = shape.tokens,
    .channels = shape.channels,
    .eps = static_cast<float>(eps),
  };
  for_blocks(shape, nullptr, [&](const Block &block) { table->cosine[*element](call, block); });
  return out;
}

}  // namespace

void fill_row_kernels(ct_api &api) {
  api.kernels = [] {
    const Table *table = chosen();
    return table ? table->name : "off";
  };
  api.share_out = [](int64_t count, void *context, void (*task)(void *, int64_t)) -> ct_error CT_CALL({
    // Whether gradients are recorded is said thread by thread.
    const bool records = gradients;
    parallel(count, std::numeric_limits<int64_t>::max(), [&](int64_t index) {
      const bool before = std::exchange(gradients, records);
      task(context, index);
      gradients = before;
    });
  });
  api.set_kernels = [](const char *name) -> ct_error CT_CALL(TORCH_CHECK(
    choose(name), "there are no kernels named \"", name, "\" for this machine"));
  api.norm_kernel = [](
                      ct_tensor *x, ct_tensor *residual, ct_tensor *weight, double eps, const double *offset,
                      ct_tensor *sum, ct_tensor *into, const ct_tap *tap, ct_out out) -> ct_error
    CT_CALL(*out = box(norm(x->value, residual, weight, eps, offset, sum, into, tap, nullptr)));
  api.gate_kernel = [](
                      ct_gate kind, ct_tensor *gate_, ct_tensor *up, ct_tensor *into, const ct_tap *tap,
                      ct_out out) -> ct_error
    CT_CALL(*out = box(gate(kind, gate_->value, up, into, tap)));
  api.add_mean_squares = [](const ct_tap *tap, ct_tensor *total) -> ct_error CT_CALL(add_mean_squares(tap, total));
  api.column_sums = [](ct_tensor *x, const ct_tap *tap) -> ct_error CT_CALL(column_sums(x->value, tap));
  api.token_cosines = [](ct_tensor *a, ct_tensor *b, double eps, ct_out out) -> ct_error
    CT_CALL(*out = box(token_cosines(a->value, b->value, eps)));
}

}  // namespace coppice
