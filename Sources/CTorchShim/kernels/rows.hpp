#pragma once

// What the calls of kernels over rows of tokens share.

#include "../shim.hpp"
#include "kernels.hpp"

#include <c10/util/FunctionRef.h>

namespace coppice {

// A tensor as [B, S, C]; all leading dimensions but the last two are S where there are not three.
struct RowShape {
  int64_t rows, tokens, channels;
  explicit RowShape(const at::Tensor &x);
  int64_t elements() const { return rows * tokens * channels; }
};

// The type's place in the tables; nothing for types that have no kernels.
std::optional<kernels::Element> element_of(const at::Tensor &x);

// Whether kernels may see this tensor: on the CPU and outside autograd.
bool plain(const at::Tensor &x);

// The same numbers in float32, or in float64 where they are wider already.
inline at::Tensor in_float32(const at::Tensor &x) { return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat); }

// An argument that may be absent, as libtorch takes it.
inline std::optional<at::Tensor> given(const at::Tensor &x) { return x.defined() ? std::optional(x) : std::nullopt; }

// Strides of a tensor of that many elements whose last axis is dense; nothing for other layouts.
std::optional<kernels::Tokens> rows_of(const at::Tensor &x, const RowShape &shape);

// The same, copied where it must be; the copy is kept in `x`.
kernels::Tokens dense_rows(at::Tensor &x, const RowShape &shape);

// A checked tap: sums [B, C] float32 and the valid tokens of each row.
struct RowTap {
  at::Tensor sums;
  at::IntArrayRef lengths;
};
std::optional<RowTap> tap_of(const ct_tap *tap, const at::Tensor &x);

// Where results go: `into`, checked to have x's shape and type and to be writable, or a new tensor.
at::Tensor destination(ct_tensor *into, const at::Tensor &x);
void check_destination(const at::Tensor &into, const at::Tensor &x);

// The operators' way of what a tap does.
void tap_with_operators(const RowTap &tap, const at::Tensor &x);

// Calls `work` for blocks of all tokens in parallel and adds their sums to the tap's. Blocks and the order of
// additions depend on shapes alone: the number of threads never shows in a result.
void for_blocks(const RowShape &shape, const RowTap *tap, c10::function_ref<void(const kernels::Block &)> work);

}  // namespace coppice
