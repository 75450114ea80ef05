#pragma once

#include "shim.hpp"

namespace coppice {

// Whether the CPU's products of bfloat16 are quicker than those of float32.
bool has_bf16_products();

// Whether products of `a` are computed in float32, because libtorch's own in its type would be slower by ten times and more.
bool is_slow(const at::Tensor &a);

at::Tensor widened(const at::Tensor &a);
std::optional<at::Tensor> widened(const std::optional<at::Tensor> &a);

// Whether oneDNN multiplies float32 rows and a weight [out, in] as they are, which from some size on is quicker than BLAS: by a sixth
// with AVX2, and twice as quick with AVX-512 where MKL has no kernels for it (Benchmarks/kernels.md).
bool suits_onednn(const at::Tensor &a, const at::Tensor &weight);

// a [… , in] · weightᵀ + bias of what suits it. Nothing is recorded.
at::Tensor project_by_onednn(const at::Tensor &a, const at::Tensor &weight, const std::optional<at::Tensor> &bias);

// A copy of a weight [out, in] in oneDNN's order for products with inputs of this type, about `rows` at a time; the weight
// itself where there is nothing to gain.
at::Tensor pack_linear(const at::Tensor &weight, int64_t rows, at::ScalarType inputs);

// a [… , in] · weightᵀ + bias, in the type of `a`. A weight that is narrower than float32 inputs is widened slice by slice.
at::Tensor project(const at::Tensor &a, const at::Tensor &weight, const std::optional<at::Tensor> &bias);

// The product over the last two dimensions, in the type of `a`.
at::Tensor matrix_product(const at::Tensor &a, const at::Tensor &b);

// total [M, N] += a · b.
void add_matrix_product(at::Tensor &total, const at::Tensor &a, const at::Tensor &b);

}  // namespace coppice
