// The entry point, errors, and what concerns libtorch as a whole.

#include "shim.hpp"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/headeronly/version.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

static_assert(
  std::string_view(TORCH_VERSION) == CT_LIBTORCH_VERSION,
  "these are the headers of another libtorch than the supported one: run Scripts/setup or set COPPICE_LIBTORCH");

namespace coppice {

thread_local bool gradients = false;

Call::Call() : mode(!gradients) { at::internal::lazy_init_num_threads(); }

char *describe(const char *text) {
  std::string_view line(text ? text : "");
  // Failed internal checks begin with the place in libtorch's source, which says nothing to a user.
  if (line.starts_with("[enforce fail at ")) {
    if (auto end = line.find("] "); end != line.npos) line.remove_prefix(end + 2);
  }
  if (auto end = line.find('\n'); end != line.npos && end > 0) line = line.substr(0, end);
  return strndup(line.data(), line.size());
}

char *describe(const c10::Error &error) { return describe(error.what_without_backtrace()); }

at::ScalarType scalar_type(int32_t dtype) {
  switch (dtype) {
    case CT_FLOAT32: return at::kFloat;
    case CT_BFLOAT16: return at::kBFloat16;
    case CT_FLOAT16: return at::kHalf;
    case CT_FLOAT64: return at::kDouble;
    case CT_INT64: return at::kLong;
    case CT_INT32: return at::kInt;
    case CT_UINT8: return at::kByte;
    case CT_BOOL: return at::kBool;
    default: throw std::invalid_argument("unknown element type number " + std::to_string(dtype));
  }
}

std::optional<at::ScalarType> optional_type(int32_t dtype) {
  return dtype == CT_KEEP ? std::nullopt : std::optional(scalar_type(dtype));
}

int32_t number_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return CT_FLOAT32;
    case at::kBFloat16: return CT_BFLOAT16;
    case at::kHalf: return CT_FLOAT16;
    case at::kDouble: return CT_FLOAT64;
    case at::kLong: return CT_INT64;
    case at::kInt: return CT_INT32;
    case at::kByte: return CT_UINT8;
    case at::kBool: return CT_BOOL;
    default: return CT_KEEP;
  }
}

int32_t cuda_devices() {
  // Asks the driver, which may be missing: that is an answer too.
  try {
    return at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
  } catch (...) {
    return 0;
  }
}

// libtorch's own message for a device that is not there is a list of all its internals.
at::Device device_of(int32_t device) {
  if (device == CT_CPU) return at::kCPU;
  if (device == CT_MPS) {
    TORCH_CHECK(at::hasMPS(), "this machine or this libtorch has no Metal device (mps)");
    return at::kMPS;
  }
  TORCH_CHECK(device >= CT_CUDA, "unknown device number ", device);
  int32_t index = device - CT_CUDA;
  int32_t count = cuda_devices();
  TORCH_CHECK(index < count, "there is no CUDA device ", index, ": libtorch finds ", count);
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}

int32_t number_of(at::Device device) {
  if (device.is_cuda()) return CT_CUDA + (device.has_index() ? device.index() : 0);
  return device.is_mps() ? CT_MPS : CT_CPU;
}

void fill_library(ct_api &api) {
  api.torch_version = [] { return TORCH_VERSION; };
  api.cpu_capability = [] {
    static const std::string text = at::get_cpu_capability();
    return text.c_str();
  };
  api.threads = [] { return static_cast<int32_t>(at::get_num_threads()); };
  api.set_threads = [](int32_t count) -> ct_error CT_CALL(at::set_num_threads(count));
  api.has_mkl = [] { return at::hasMKL(); };
  api.has_mkldnn = [] { return at::globalContext().hasMKLDNN(); };
  api.cuda_devices = [] { return cuda_devices(); };
  api.set_deterministic =
    [](bool on) -> ct_error CT_CALL(at::globalContext().setDeterministicAlgorithms(on, false));
  api.manual_seed = [](uint64_t seed) -> ct_error CT_CALL(at::manual_seed(seed));
  api.set_gradients = [](bool on) { return std::exchange(gradients, on); };
}

}  // namespace coppice

extern "C" __attribute__((visibility("default"))) const ct_api *coppice_torch_api(int32_t abi) {
  if (abi != CT_ABI) return nullptr;
  static const ct_api table = [] {
    ct_api api{};
    coppice::fill_library(api);
    coppice::fill_memory(api);
    coppice::fill_tensors(api);
    coppice::fill_transfers(api);
    coppice::fill_shapes(api);
    coppice::fill_pointwise(api);
    coppice::fill_reductions(api);
    coppice::fill_networks(api);
    coppice::fill_moments(api);
    coppice::fill_row_kernels(api);
    coppice::fill_vocabulary_kernels(api);
    coppice::fill_rotary_kernels(api);
    coppice::fill_attention_kernels(api);
    coppice::fill_autograd(api);
    coppice::fill_ranks(api);
    coppice::fill_nccl(api);
    return api;
  }();
  return &table;
}
