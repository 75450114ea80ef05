// The kernels with AVX-512 (2017 and later).

#include "kernels.hpp"

// Vectors wider than the target's registers are passed between functions that are always inlined only.
#pragma clang diagnostic ignored "-Wpsabi"

#ifdef __x86_64__
#include <immintrin.h>
#define COPPICE_AVX512
#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"))), apply_to = function)

namespace coppice::kernels {
namespace avx512 {
#include "table.inl"
}  // namespace avx512
}  // namespace coppice::kernels

#pragma clang attribute pop

const coppice::kernels::Table coppice::kernels::avx512_table = avx512::make_table("avx512");
#endif
