// Everything of one instruction set. The including file has set the `target` attribute, opened a namespace, and
// defined the sizes that depend on the number of registers.

#include "vectors.inl"

#include "norm.inl"

#include "gate.inl"

#include "backward.inl"

#include "statistics.inl"

#include "vocabulary.inl"

#include "rotary.inl"

#include "products.inl"

#include "softmax.inl"

#include "attention.inl"

#include "attention_tasks.inl"

#ifdef COPPICE_AVX512_BF16
using BFloat16Cells = Pairs;
#else
using BFloat16Cells = Singles;
#endif

constexpr Table make_table(const char *name) {
  return Table{
    .name = name,
    .norm = {norm<float>, norm<bf16>},
    .gate =
      {{gate<float, kSilu>, gate<float, kGelu>, gate<float, kGeluTanh>, gate<float, kReluSquared>, gate<float, kRelu>},
       {gate<bf16, kSilu>, gate<bf16, kGelu>, gate<bf16, kGeluTanh>, gate<bf16, kReluSquared>, gate<bf16, kRelu>}},
    .norm_backward = {norm_backward<float>, norm_backward<bf16>},
    .gate_backward =
      {{gate_backward<float, kSilu>, gate_backward<float, kGelu>, gate_backward<float, kGeluTanh>,
        gate_backward<float, kReluSquared>, gate_backward<float, kRelu>},
       {gate_backward<bf16, kSilu>, gate_backward<bf16, kGelu>, gate_backward<bf16, kGeluTanh>,
        gate_backward<bf16, kReluSquared>, gate_backward<bf16, kRelu>}},
    .columns = {columns<float>, columns<bf16>},
    .cosine = {cosine<float>, cosine<bf16>},
    .log_sums = {log_sums<float>, log_sums<bf16>},
    .slopes = {slopes<float>, slopes<bf16>},
    .rotary = {rotary<float>, rotary<bf16>},
    .attention = {attention<float, Singles>, attention<bf16, BFloat16Cells>},
    .attention_scratch = {scratch_bytes<Singles>, scratch_bytes<BFloat16Cells>},
  };
}
