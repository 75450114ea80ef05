// Elementwise functions. One entry each for "one tensor", "two tensors" and "tensor and number".

#include "shim.hpp"

#include <c10/core/GradMode.h>

#include <cmath>

namespace coppice {
namespace {

[[noreturn]] void unknown(int32_t op) {
  throw std::invalid_argument("this operation (number " + std::to_string(op) + ") does not exist in this form");
}

// libtorch computes the last few elements of a tensor, and of each thread's part, by other code than the rest, which for these three
// rounds otherwise: a number would depend on what lies beside it. Its exponentials, and what is rounded from doubles, do not.
// Their gradients, though, would not be finite where exponentials are not.
bool is_rounded_unevenly(const at::Tensor &a) {
  return a.is_cpu() && a.is_floating_point() && !(gradients && c10::GradMode::is_enabled() && a.requires_grad());
}

at::Tensor exponential_of_minus(const at::Tensor &a) {
  return at::exp(at::neg(a.scalar_type() == at::kDouble ? a : a.to(at::kFloat)));
}

at::Tensor even_sigmoid(const at::Tensor &a) {
  if (!is_rounded_unevenly(a)) return at::sigmoid(a);
  return at::reciprocal(at::add(exponential_of_minus(a), 1)).to(a.scalar_type());
}

at::Tensor even_silu(const at::Tensor &a) {
  if (!is_rounded_unevenly(a)) return at::silu(a);
  return at::div(a, at::add(exponential_of_minus(a), 1)).to(a.scalar_type());
}

at::Tensor even_softplus(const at::Tensor &a) {
  return is_rounded_unevenly(a) ? at::softplus(a.to(at::kDouble)).to(a.scalar_type()) : at::softplus(a);
}

at::Tensor unary(ct_unary op, const at::Tensor &a) {
  switch (op) {
    case CT_NEG: return at::neg(a);
    case CT_ABS: return at::abs(a);
    case CT_SQUARE: return at::square(a);
    case CT_SQRT: return at::sqrt(a);
    case CT_RSQRT: return at::rsqrt(a);
    case CT_EXP: return at::exp(a);
    case CT_LOG: return at::log(a);
    case CT_LOG1P: return at::log1p(a);
    case CT_TANH: return at::tanh(a);
    case CT_SIGMOID: return even_sigmoid(a);
    case CT_SILU: return even_silu(a);
    case CT_GELU: return at::gelu(a);
    case CT_GELU_TANH: return at::gelu(a, "tanh");
    case CT_RELU: return at::relu(a);
    case CT_COS: return at::cos(a);
    case CT_SIN: return at::sin(a);
    case CT_SOFTPLUS: return even_softplus(a);
    case CT_RECIPROCAL: return at::reciprocal(a);
    case CT_LOGICAL_NOT: return at::logical_not(a);
    case CT_IS_FINITE: return at::isfinite(a);
  }
  unknown(op);
}

void unary_in_place(ct_unary op, at::Tensor &a) {
  switch (op) {
    case CT_NEG: at::neg_(a); return;
    case CT_ABS: at::abs_(a); return;
    case CT_SQUARE: at::square_(a); return;
    case CT_SQRT: at::sqrt_(a); return;
    case CT_RSQRT: at::rsqrt_(a); return;
    case CT_EXP: at::exp_(a); return;
    case CT_TANH: at::tanh_(a); return;
    case CT_SIGMOID: a.copy_(even_sigmoid(a)); return;
    case CT_SILU: a.copy_(even_silu(a)); return;
    case CT_GELU: at::gelu_(a); return;
    case CT_GELU_TANH: at::gelu_(a, "tanh"); return;
    case CT_RELU: at::relu_(a); return;
    default: unknown(op);
  }
}

// `B` is a tensor or a number: libtorch has an overload for each.
template <typename B>
at::Tensor binary(ct_binary op, const at::Tensor &a, const B &b) {
  switch (op) {
    case CT_ADD: return at::add(a, b);
    case CT_SUB: return at::sub(a, b);
    case CT_MUL: return at::mul(a, b);
    case CT_DIV: return at::div(a, b);
    case CT_POW: return at::pow(a, b);
    case CT_FLOOR_DIVIDE: return at::floor_divide(a, b);
    case CT_REMAINDER: return at::remainder(a, b);
    case CT_EQ: return at::eq(a, b);
    case CT_NE: return at::ne(a, b);
    case CT_GT: return at::gt(a, b);
    case CT_GE: return at::ge(a, b);
    case CT_LT: return at::lt(a, b);
    case CT_LE: return at::le(a, b);
    default: break;
  }
  if constexpr (std::is_same_v<B, at::Tensor>) {
    switch (op) {
      case CT_MAXIMUM: return at::maximum(a, b);
      case CT_MINIMUM: return at::minimum(a, b);
      case CT_LOGICAL_AND: return at::logical_and(a, b);
      case CT_LOGICAL_OR: return at::logical_or(a, b);
      default: break;
    }
  }
  unknown(op);
}

template <typename B>
void binary_in_place(ct_binary op, at::Tensor &a, const B &b) {
  switch (op) {
    case CT_ADD: a.add_(b); return;
    case CT_SUB: a.sub_(b); return;
    case CT_MUL: a.mul_(b); return;
    case CT_DIV: a.div_(b); return;
    case CT_POW: a.pow_(b); return;
    default: unknown(op);
  }
}

// A whole number stays one, so that integer tensors remain integer tensors.
at::Scalar number(const at::Tensor &a, double b) {
  if (!at::isFloatingType(a.scalar_type()) && std::abs(b) < 0x1p63 && b == std::trunc(b)) {
    return static_cast<int64_t>(b);
  }
  return b;
}

}  // namespace

void fill_pointwise(ct_api &api) {
  api.unary = [](ct_unary op, ct_tensor *a, ct_out out) -> ct_error CT_CALL(*out = box(unary(op, a->value)));
  api.unary_ = [](ct_unary op, ct_tensor *a) -> ct_error CT_CALL({
    if (is_kept(a->value)) {
      a->value = unary(op, a->value);
    } else {
      unary_in_place(op, writable(a));
    }
  });
  api.binary = [](ct_binary op, ct_tensor *a, ct_tensor *b, ct_out out) -> ct_error
    CT_CALL(*out = box(binary(op, a->value, b->value)));
  api.binary_ = [](ct_binary op, ct_tensor *a, ct_tensor *b) -> ct_error
    CT_CALL({
      if (is_kept(a->value, b->value)) {
        a->value = binary(op, a->value, b->value).to(a->value.scalar_type());
      } else {
        binary_in_place(op, writable(a), b->value);
      }
    });
  api.scalar = [](ct_binary op, ct_tensor *a, double b, ct_out out) -> ct_error
    CT_CALL(*out = box(binary(op, a->value, number(a->value, b))));
  api.scalar_ = [](ct_binary op, ct_tensor *a, double b) -> ct_error
    CT_CALL({
      if (is_kept(a->value)) {
        a->value = binary(op, a->value, number(a->value, b)).to(a->value.scalar_type());
      } else {
        binary_in_place(op, writable(a), number(a->value, b));
      }
    });
  api.clamp = [](ct_tensor *a, const double *minimum, const double *maximum, ct_out out) -> ct_error CT_CALL({
    std::optional<at::Scalar> low;
    std::optional<at::Scalar> high;
    if (minimum) low = number(a->value, *minimum);
    if (maximum) high = number(a->value, *maximum);
    *out = box(at::clamp(a->value, low, high));
  });
  api.fill_ = [](ct_tensor *a, double value) -> ct_error CT_CALL(writable(a).fill_(value));
  api.add_scaled_ = [](ct_tensor *a, ct_tensor *b, double scale) -> ct_error
    CT_CALL({
    if (is_kept(a->value, b->value)) {
      a->value = a->value.add(b->value, number(a->value, scale)).to(a->value.scalar_type());
    } else {
      writable(a).add_(b->value, number(a->value, scale));
    }
  });
  api.add_product_ = [](ct_tensor *a, ct_tensor *b, ct_tensor *c, double scale) -> ct_error
    CT_CALL({
    if (is_kept(a->value, b->value) || is_kept(a->value, c->value)) {
      a->value = a->value.addcmul(b->value, c->value, number(a->value, scale));
    } else {
      writable(a).addcmul_(b->value, c->value, number(a->value, scale));
    }
  });
}

}  // namespace coppice
