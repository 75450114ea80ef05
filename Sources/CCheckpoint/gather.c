#include "CCheckpoint.h"

#include <string.h>

// One element after the other; for any machine.
static void plain16(const uint8_t *from, const uint32_t *kept, size_t words, uint8_t *to) {
  for (size_t w = 0; w < words; ++w, from += 64) {
    for (uint32_t bits = kept[w]; bits; bits &= bits - 1, to += 2) memcpy(to, from + 2 * __builtin_ctz(bits), 2);
  }
}

static void plain32(const uint8_t *from, const uint32_t *kept, size_t words, uint8_t *to) {
  for (size_t w = 0; w < words; ++w, from += 128) {
    for (uint32_t bits = kept[w]; bits; bits &= bits - 1, to += 4) memcpy(to, from + 4 * __builtin_ctz(bits), 4);
  }
}

#ifdef __x86_64__
#include <immintrin.h>

// Thirty-two elements at a time are pushed together in a register. Writing them from there by a masked store would be
// slow on some processors, so that the whole register is stored and the next one overwrites what it left behind.
__attribute__((target("avx512f,avx512bw,avx512vbmi2"))) static void quick16(
  const uint8_t *from, const uint32_t *kept, size_t words, uint8_t *to) {
  for (size_t w = 0; w < words; ++w, from += 64) {
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi16(kept[w], _mm512_loadu_si512(from)));
    to += 2 * __builtin_popcount(kept[w]);
  }
}

__attribute__((target("avx512f"))) static void quick32(
  const uint8_t *from, const uint32_t *kept, size_t words, uint8_t *to) {
  for (size_t w = 0; w < words; ++w) {
    for (int half = 0; half < 2; ++half, from += 64) {
      const __mmask16 mask = (__mmask16)(kept[w] >> (16 * half));
      _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(from)));
      to += 4 * __builtin_popcount(mask);
    }
  }
}

static int supports_words(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2");
}
#endif

void cc_gather16(const void *from, const uint32_t *kept, size_t words, void *to) {
#ifdef __x86_64__
  if (supports_words()) {
    quick16(from, kept, words, to);
    return;
  }
#endif
  plain16(from, kept, words, to);
}

void cc_gather32(const void *from, const uint32_t *kept, size_t words, void *to) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f")) {
    quick32(from, kept, words, to);
    return;
  }
#endif
  plain32(from, kept, words, to);
}
