#pragma once

// What the files of the shim share: the tensor box, the guard around every call, and the conversions
// between the numbers of CTorch.h and libtorch's types.

#include "CTorch.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <stdexcept>
#include <string>

struct ct_tensor {
  at::Tensor value;
};

namespace coppice {

// Each file fills its members of the table.
void fill_library(ct_api &api);
void fill_memory(ct_api &api);
void fill_tensors(ct_api &api);
void fill_transfers(ct_api &api);
void fill_shapes(ct_api &api);
void fill_pointwise(ct_api &api);
void fill_reductions(ct_api &api);
void fill_networks(ct_api &api);
void fill_moments(ct_api &api);
void fill_row_kernels(ct_api &api);
void fill_vocabulary_kernels(ct_api &api);
void fill_rotary_kernels(ct_api &api);
void fill_attention_kernels(ct_api &api);
void fill_autograd(ct_api &api);
void fill_ranks(ct_api &api);
void fill_nccl(ct_api &api);

// Whether this thread records gradients. Off: tensors carry no autograd state at all.
extern thread_local bool gradients;

// Set up before every call: the autograd switch, and this thread's share of libtorch's thread settings,
// which OpenMP keeps per thread and libtorch only passes on when it first runs a loop of its own.
struct Call {
  Call();
  c10::InferenceMode mode;
};

// The message of a libtorch error without its C++ backtrace; malloc'ed.
char *describe(const c10::Error &error);
char *describe(const char *text);

// True where the memory came through `borrow`, whatever view of it this is.
bool is_borrowed(const at::Tensor &tensor);

// For functions that change a tensor: whether the change has to be another tensor, because gradients of what is there are
// recorded. Views are changed where they are: libtorch knows of that, and refuses where the old values are needed.
bool is_kept(const at::Tensor &tensor, const at::Tensor &other = {});

// For in-place functions: throws where the memory is read-only.
at::Tensor &writable(ct_tensor *tensor);

at::ScalarType scalar_type(int32_t dtype);
std::optional<at::ScalarType> optional_type(int32_t dtype);
int32_t number_of(at::ScalarType type);
at::Device device_of(int32_t device);
int32_t number_of(at::Device device);

inline ct_tensor *box(at::Tensor tensor) { return new ct_tensor{std::move(tensor)}; }

inline at::IntArrayRef dims(ct_dims values, size_t count) { return {values, count}; }

inline std::optional<at::Tensor> optional(ct_tensor *tensor) {
  return tensor ? std::optional<at::Tensor>(tensor->value) : std::nullopt;
}

inline std::optional<double> optional(const double *value) {
  return value ? std::optional<double>(*value) : std::nullopt;
}

}  // namespace coppice

// Every function that can fail is one lambda with this as its body: no C++ exception crosses the boundary.
#define CT_CALL(...)                                    \
  {                                                     \
    try {                                               \
      coppice::Call call;                               \
      __VA_ARGS__;                                      \
      return nullptr;                                   \
    } catch (const c10::Error &error) {                 \
      return coppice::describe(error);                  \
    } catch (const std::exception &error) {             \
      return coppice::describe(error.what());           \
    } catch (...) {                                     \
      return coppice::describe("unknown C++ exception"); \
    }                                                   \
  }
