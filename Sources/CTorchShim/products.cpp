// Matrix products, and the order of weights in which they are quickest.

#include "products.hpp"

#include "kernels/recorded.hpp"

#include <ATen/Version.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <array>

namespace coppice {

bool has_bf16_products() {
  static const bool has = ct_bfloat16_obstacle() == nullptr;
  return has;
}

bool is_slow(const at::Tensor &a) {
  return a.scalar_type() == at::kBFloat16 && a.is_cpu() && !has_bf16_products();
}

at::Tensor widened(const at::Tensor &a) { return a.to(at::kFloat); }

std::optional<at::Tensor> widened(const std::optional<at::Tensor> &a) {
  return a && a->defined() ? std::optional(widened(*a)) : a;
}

namespace {

bool is_half(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

// oneDNN's matrix product of plain weights puts them into its own order at every call. These operators of libtorch,
// which its compiler uses, do it once; they have no C++ declaration.
at::Tensor call_mkldnn(const char *name, std::vector<c10::IValue> arguments) {
  auto operation = c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  operation.callBoxed(&arguments);
  return arguments.at(0).toTensor();
}

// Elements of a weight that are widened at a time: 8 MiB as float32, which the caches still hold when they are multiplied.
constexpr int64_t kSlice = 2 << 20;

// The product of float32 rows [M, in] and a weight of another type, a slice of which is float32 at a time.
at::Tensor multiply_slices(const at::Tensor &rows, const at::Tensor &weight) {
  const int64_t outputs = weight.size(0);
  const int64_t step = std::max<int64_t>(kSlice / std::max<int64_t>(weight.size(1), 1), 64);
  if (outputs <= step) return matrix_product(rows, widened(weight).t());
  at::Tensor result = at::empty({rows.size(0), outputs}, rows.options());
  for (int64_t first = 0; first < outputs; first += step) {
    const int64_t count = std::min(step, outputs - first);
    at::Tensor part = result.narrow(1, first, count);
    at::mm_out(part, rows, widened(weight.narrow(0, first, count)).t());
  }
  return result;
}

// As bfloat16 products are defined where they are quick: sums in float32, rounded once.
at::Tensor project_in_float32(const at::Tensor &a, const at::Tensor &weight, const std::optional<at::Tensor> &bias) {
  TORCH_CHECK(
    a.dim() > 0 && weight.dim() == 2 && a.size(-1) == weight.size(1), "an input of shape ", a.sizes(),
    " does not fit a weight of shape ", weight.sizes());
  // What gradients are asked of is kept by the operators that record them.
  if (gradients) return project(widened(a), widened(weight), widened(bias)).to(a.scalar_type());
  auto shape = a.sizes().vec();
  shape.back() = weight.size(0);
  at::Tensor result = multiply_slices(widened(a).reshape({-1, a.size(-1)}), weight);
  if (bias && bias->defined()) result.add_(*bias);
  return result.to(a.scalar_type()).view(shape);
}

// Products of fewer multiplications take oneDNN's call longer than BLAS itself.
constexpr int64_t kWorthOneDNN = 4 << 20;

bool has_onednn() { return at::globalContext().hasMKLDNN() && at::globalContext().userEnabledMkldnn(); }

// Rows or columns one after another, with nothing between them: of others oneDNN has only its slow reference.
bool is_plain_matrix(const at::Tensor &a) {
  const auto along = [&](int64_t inner, int64_t outer) { return a.stride(inner) == 1 && a.stride(outer) == a.size(inner); };
  return a.dim() == 2 && a.is_cpu() && a.layout() == at::kStrided && a.scalar_type() == at::kFloat && (along(1, 0) || along(0, 1));
}

at::Tensor call_linear(const at::Tensor &a, const at::Tensor &weight, const std::optional<at::Tensor> &bias) {
  return call_mkldnn(
    "mkldnn::_linear_pointwise",
    {a, weight, bias, "none", c10::List<std::optional<at::Scalar>>(), std::optional<std::string>()});
}

}  // namespace

bool suits_onednn(const at::Tensor &a, const at::Tensor &weight) {
#ifdef __x86_64__
  if (!is_plain_matrix(weight) || a.dim() == 0 || !a.is_cpu() || a.scalar_type() != at::kFloat) return false;
  if (a.layout() != at::kStrided || a.size(-1) != weight.size(1) || !has_onednn()) return false;
  return a.numel() * weight.size(0) >= kWorthOneDNN;
#else
  return false;
#endif
}

at::Tensor project_by_onednn(const at::Tensor &a, const at::Tensor &weight, const std::optional<at::Tensor> &bias) {
  return call_linear(is_plain_matrix(a) ? a : a.contiguous(), weight, bias);
}

at::Tensor pack_linear(const at::Tensor &weight, int64_t rows, at::ScalarType inputs) {
#ifdef __x86_64__
  const at::ScalarType type = weight.scalar_type();
  bool fits = weight.dim() == 2 && weight.numel() > 0 && weight.is_cpu() && weight.layout() == at::kStrided && has_onednn();
  const bool narrow = inputs == at::kBFloat16 && type == at::kBFloat16 && has_bf16_products();
  const bool wide = (type == at::kFloat || is_half(type)) &&
    (inputs == at::kFloat || (inputs == at::kBFloat16 && !has_bf16_products()));
  if (fits && (narrow || wide)) {
    at::Tensor plain = narrow ? weight.contiguous() : widened(weight).contiguous();
    return call_mkldnn("mkldnn::_reorder_linear_weight", {plain, std::max<int64_t>(rows, 1)});
  }
#endif
  return weight;
}

at::Tensor project(const at::Tensor &a, const at::Tensor &weight, const std::optional<at::Tensor> &bias) {
  const at::ScalarType type = a.scalar_type();
  if (!weight.is_mkldnn()) {
    const bool mixed = type == at::kFloat && is_half(weight.scalar_type());
    // Of one row libtorch takes dot products, which are not slow.
    const bool slow = is_slow(a) && weight.scalar_type() == type && a.dim() > 0 && a.numel() > a.size(-1);
    if (mixed || slow) return project_in_float32(a, weight, bias);
    if (!suits_onednn(a, weight)) return at::linear(a, weight, bias);
    return is_recorded(a, weight, bias ? *bias : at::Tensor()) ? recorded_projection(a, weight, bias)
                                                                : project_by_onednn(a, weight, bias);
  }
  TORCH_CHECK(
    a.dim() > 0 && a.size(-1) == weight.size(1), "an input of shape ", a.sizes(), " does not fit a packed weight of shape ",
    weight.sizes());
  const bool widens = is_slow(a) && weight.scalar_type() == at::kFloat;
  TORCH_CHECK(
    a.is_cpu() && (type == weight.scalar_type() || widens), "this packed weight takes ", weight.scalar_type(),
    " on the CPU, not ", type);
  if (a.numel() == 0) {
    auto shape = a.sizes().vec();
    shape.back() = weight.size(0);
    return at::zeros(shape, a.options());
  }
  at::Tensor result =
    call_linear(widens ? widened(a) : a, weight, weight.scalar_type() == at::kFloat ? widened(bias) : bias);
  return widens ? result.to(type) : result;
}

at::Tensor matrix_product(const at::Tensor &a, const at::Tensor &b) {
  const bool mixed = a.scalar_type() == at::kFloat && is_half(b.scalar_type());
  if (mixed) return at::matmul(a, widened(b));
  if (is_slow(a) && b.scalar_type() == a.scalar_type()) return at::matmul(widened(a), widened(b)).to(a.scalar_type());
  if (b.dim() == 2 && !is_recorded(a, b)) {
    const at::Tensor weight = b.t();
    if (suits_onednn(a, weight)) return project_by_onednn(a, weight, std::nullopt);
  }
  return at::matmul(a, b);
}

void add_matrix_product(at::Tensor &total, const at::Tensor &a, const at::Tensor &b) {
  const auto type = total.scalar_type();
  const bool isOneType = a.scalar_type() == type && b.scalar_type() == type && !is_slow(a);
  // With AVX2 a sum of its own costs as much as oneDNN gains.
  static const bool isWide = at::get_cpu_capability() == "AVX512";
  const bool isQuicker = isWide && suits_onednn(a, b.t());
  if (isOneType && !isQuicker) {
    total.addmm_(a, b);
  } else {
    total.add_(matrix_product(a, b));
  }
}

}  // namespace coppice
