// The kernels with AVX-512 and its bfloat16 dot products (2020 and later).

#include "kernels.hpp"

// Vectors wider than the target's registers are passed between functions that are always inlined only.
#pragma clang diagnostic ignored "-Wpsabi"

#ifdef __x86_64__
#include <immintrin.h>
#define COPPICE_AVX512
#define COPPICE_AVX512_BF16
#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma"))), apply_to = function)

namespace coppice::kernels {
namespace avx512_bf16 {
#include "table.inl"
}  // namespace avx512_bf16
}  // namespace coppice::kernels

#pragma clang attribute pop

const coppice::kernels::Table coppice::kernels::avx512_bf16_table = avx512_bf16::make_table("avx512_bf16");
#endif
