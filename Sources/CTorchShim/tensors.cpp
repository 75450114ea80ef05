// Creation, copies and reading.

#include "shim.hpp"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

namespace coppice {
namespace {

struct Loan {
  void *context;
  void (*release)(void *context);
  ~Loan() { release(context); }
};

void end_loan(void *loan) { delete static_cast<Loan *>(loan); }

at::TensorOptions options(int32_t dtype, int32_t device) {
  return at::TensorOptions().dtype(scalar_type(dtype)).device(device_of(device));
}

void check_size(at::IntArrayRef shape, int32_t dtype, size_t bytes) {
  uint64_t needed = c10::elementSize(scalar_type(dtype));
  bool overflow = false;
  for (int64_t size : shape) {
    TORCH_CHECK(size >= 0, "a dimension is negative: ", shape);
    overflow |= c10::mul_overflows(needed, static_cast<uint64_t>(size), &needed);
  }
  TORCH_CHECK(!overflow && needed == bytes, "shape ", shape, " does not take ", bytes, " bytes");
}

}  // namespace

bool is_borrowed(const at::Tensor &tensor) {
  return tensor.has_storage() && tensor.storage().data_ptr().get_deleter() == &end_loan;
}

bool is_kept(const at::Tensor &tensor, const at::Tensor &other) {
  const bool depends = tensor.requires_grad() || (other.defined() && other.requires_grad());
  return gradients && c10::GradMode::is_enabled() && depends && !tensor.is_view();
}

at::Tensor &writable(ct_tensor *tensor) {
  TORCH_CHECK(
    !is_borrowed(tensor->value), "this tensor of shape ", tensor->value.sizes(),
    " lies in read-only memory (a mapped checkpoint): clone it before changing it");
  return tensor->value;
}

void fill_tensors(ct_api &api) {
  api.tensor_free = [](ct_tensor *tensor) { delete tensor; };
  api.dim = [](ct_tensor *tensor) { return tensor->value.dim(); };
  api.shape = [](ct_tensor *tensor, int64_t *shape) { std::ranges::copy(tensor->value.sizes(), shape); };
  api.numel = [](ct_tensor *tensor) { return tensor->value.numel(); };
  api.dtype = [](ct_tensor *tensor) { return number_of(tensor->value.scalar_type()); };
  api.device = [](ct_tensor *tensor) { return number_of(tensor->value.device()); };
  api.is_contiguous = [](ct_tensor *tensor) { return tensor->value.is_contiguous(); };
  api.is_borrowed = [](ct_tensor *tensor) { return is_borrowed(tensor->value); };

  api.empty = [](ct_dims shape, size_t dim, int32_t dtype, int32_t device, ct_out out) -> ct_error
    CT_CALL(*out = box(at::empty(dims(shape, dim), options(dtype, device))));
  api.full = [](ct_dims shape, size_t dim, double value, int32_t dtype, int32_t device, ct_out out) -> ct_error
    CT_CALL(*out = box(at::full(dims(shape, dim), value, options(dtype, device))));
  api.arange = [](double start, double end, double step, int32_t dtype, int32_t device, ct_out out) -> ct_error
    CT_CALL(*out = box(at::arange(start, end, step, options(dtype, device))));
  api.randn = [](ct_dims shape, size_t dim, int32_t dtype, int32_t device, ct_out out) -> ct_error
    CT_CALL(*out = box(at::randn(dims(shape, dim), options(dtype, device))));

  api.from_bytes =
    [](const void *bytes, size_t count, ct_dims shape, size_t dim, int32_t dtype, ct_out out) -> ct_error CT_CALL({
      check_size(dims(shape, dim), dtype, count);
      at::Tensor tensor = at::empty(dims(shape, dim), options(dtype, CT_CPU));
      if (count > 0) std::memcpy(tensor.mutable_data_ptr(), bytes, count);
      *out = box(std::move(tensor));
    });

  api.borrow = [](
                 const void *bytes, size_t count, ct_dims shape, size_t dim, int32_t dtype, void *context,
                 void (*release)(void *), ct_out out) -> ct_error CT_CALL({
    auto loan = std::unique_ptr<Loan>(new Loan{context, release});
    check_size(dims(shape, dim), dtype, count);
    // The storage's deleter is what marks every view of the memory as borrowed.
    void *memory = const_cast<void *>(bytes);
    c10::DataPtr pointer(memory, loan.get(), &end_loan, at::kCPU);
    loan.release();
    c10::Storage storage(c10::Storage::use_byte_size_t(), count, std::move(pointer), nullptr, false);
    at::Tensor tensor = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CPU), c10::scalarTypeToTypeMeta(scalar_type(dtype)));
    tensor.unsafeGetTensorImpl()->set_sizes_contiguous(dims(shape, dim));
    *out = box(std::move(tensor));
  });

  api.to = [](ct_tensor *a, int32_t dtype, int32_t device, ct_out out) -> ct_error CT_CALL({
    at::TensorOptions target;
    if (dtype != CT_KEEP) target = target.dtype(scalar_type(dtype));
    if (device != CT_KEEP) target = target.device(device_of(device));
    *out = box(a->value.to(target));
  });
  api.clone = [](ct_tensor *a, ct_out out) -> ct_error
    CT_CALL(*out = box(a->value.clone(at::MemoryFormat::Contiguous)));
  api.contiguous = [](ct_tensor *a, ct_out out) -> ct_error CT_CALL(*out = box(a->value.contiguous()));
  api.copy_ = [](ct_tensor *a, ct_tensor *source) -> ct_error CT_CALL(writable(a).copy_(source->value));
  api.read = [](ct_tensor *a, int32_t dtype, void *bytes, size_t count) -> ct_error CT_CALL({
    check_size(a->value.sizes(), dtype, count);
    if (count > 0) at::from_blob(bytes, a->value.sizes(), options(dtype, CT_CPU)).copy_(a->value);
  });
  api.item = [](ct_tensor *a, double *out) -> ct_error CT_CALL(*out = a->value.item().toDouble());
  api.data = [](ct_tensor *a, const void **out, size_t *count) -> ct_error CT_CALL({
    TORCH_CHECK(
      a->value.is_cpu() && a->value.is_contiguous(), "bytes can be read in place only from a contiguous tensor on the CPU");
    *out = a->value.const_data_ptr();
    *count = a->value.nbytes();
  });
}

}  // namespace coppice
