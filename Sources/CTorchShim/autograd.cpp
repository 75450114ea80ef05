// Gradients: leaves, what a loss changes by, and the step that an optimizer makes of it.

#include "shim.hpp"

#include <ATen/ops/_fused_adamw.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

namespace coppice {
namespace {

using Handles = ct_tensor *_Nonnull const *;

std::vector<at::Tensor> list(Handles tensors, size_t count) {
  std::vector<at::Tensor> values;
  values.reserve(count);
  for (size_t i = 0; i < count; ++i) values.push_back(tensors[i]->value);
  return values;
}

std::vector<at::Tensor> writable_list(Handles tensors, size_t count) {
  std::vector<at::Tensor> values;
  values.reserve(count);
  for (size_t i = 0; i < count; ++i) values.push_back(writable(tensors[i]));
  return values;
}

at::Tensor leaf(const at::Tensor &a, bool wanted) {
  TORCH_CHECK(gradients, "this thread does not record gradients");
  // What was made while nothing was recorded can take no part in it; a copy can.
  at::Tensor result = a.is_inference() ? a.clone() : a.detach();
  result.set_requires_grad(wanted);
  return result;
}

void check_grad(Handles outputs, Handles given, size_t count) {
  TORCH_CHECK(gradients, "this thread does not record gradients");
  for (size_t i = 0; i < count; ++i) {
    const at::Tensor &output = outputs[i]->value;
    TORCH_CHECK(output.requires_grad(), "result ", i, " of shape ", output.sizes(), " does not depend on what was recorded");
    TORCH_CHECK(
      given[i]->value.sizes() == output.sizes(), "the gradient has shape ", given[i]->value.sizes(), ", the result ",
      output.sizes());
  }
}

}  // namespace

void fill_autograd(ct_api &api) {
  api.records_gradients = [] { return gradients; };
  api.leaf = [](ct_tensor *a, bool wanted, ct_out out) -> ct_error CT_CALL(*out = box(leaf(a->value, wanted)));
  api.gradients = [](
                    Handles outputs, Handles given, size_t count, Handles inputs, size_t input_count,
                    ct_tensor *_Nullable *outs) -> ct_error CT_CALL({
    check_grad(outputs, given, count);
    auto found = torch::autograd::grad(
      list(outputs, count), list(inputs, input_count), list(given, count), /*retain_graph=*/false,
      /*create_graph=*/false, /*allow_unused=*/true);
    for (size_t i = 0; i < input_count; ++i) outs[i] = found[i].defined() ? box(found[i]) : nullptr;
  });
  api.adamw = [](
                Handles weights, Handles slopes, Handles means, Handles squares, size_t count, const ct_adamw *rule,
                int64_t step) -> ct_error CT_CALL({
    TORCH_CHECK(step > 0, "the first step is number 1, not ", step);
    c10::AutoGradMode off(false);
    auto values = writable_list(weights, count);
    std::vector<at::Tensor> steps(count);
    for (size_t i = 0; i < count; ++i) {
      steps[i] = at::full({}, static_cast<double>(step), values[i].options().dtype(at::kFloat));
    }
    at::_fused_adamw_(
      values, list(slopes, count), writable_list(means, count), writable_list(squares, count), {},
      steps, rule->rate, rule->beta1, rule->beta2, rule->decay, rule->eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

}  // namespace coppice
