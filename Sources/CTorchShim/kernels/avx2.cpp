// The kernels with AVX2 and fused multiply-add (2013 and later).

#include "kernels.hpp"

// Vectors wider than the target's registers are passed between functions that are always inlined only.
#pragma clang diagnostic ignored "-Wpsabi"

#ifdef __x86_64__
#define COPPICE_AVX2
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)

namespace coppice::kernels {
namespace avx2 {
#include "table.inl"
}  // namespace avx2
}  // namespace coppice::kernels

#pragma clang attribute pop

const coppice::kernels::Table coppice::kernels::avx2_table = avx2::make_table("avx2");
#endif
