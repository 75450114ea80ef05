#pragma once

// What the processor can do, as far as it decides about more than one kernel. Inline: both sides of the C boundary ask,
// and the answer is wanted before libtorch is opened.

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <strings.h>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#pragma clang assume_nonnull begin

// `names` end with a null pointer.
static inline bool ct_variable_is_one_of(const char *variable, const char *_Nullable const *_Nonnull names) {
  const char *_Nullable value = getenv(variable);
  for (; value && *names; ++names) {
    if (strcasecmp(value, *names) == 0) return true;
  }
  return false;
}

// Whether matrix products of bfloat16 are quicker than those of float32 here: NULL if so, "" where the processor has no
// instructions for them, else the name of the environment variable that keeps them from being used. Such a variable makes
// a lesser machine of this one, for libtorch (ATEN_CPU_CAPABILITY), for oneDNN, whose products they are
// (ONEDNN_MAX_CPU_ISA, formerly DNNL_MAX_CPU_ISA), or for our kernels (COPPICE_KERNELS).
static inline const char *_Nullable ct_bfloat16_obstacle(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512bf16")) return "";
  static const char *_Nullable const aten[] = {"default", "avx2", NULL};
  static const char *_Nullable const onednn[] = {"sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2", "avx512_core",
                                       "avx512_core_vnni", NULL};
  static const char *_Nullable const kernels[] = {"generic", "avx2", "avx512", NULL};
  if (ct_variable_is_one_of("ATEN_CPU_CAPABILITY", aten)) return "ATEN_CPU_CAPABILITY";
  const char *_Nullable newer = getenv("ONEDNN_MAX_CPU_ISA");
  const char *isa = newer && *newer ? "ONEDNN_MAX_CPU_ISA" : "DNNL_MAX_CPU_ISA";
  if (ct_variable_is_one_of(isa, onednn)) return isa;
  if (ct_variable_is_one_of("COPPICE_KERNELS", kernels)) return "COPPICE_KERNELS";
  return NULL;
#elif defined(__aarch64__) && defined(__linux__)
  const unsigned long bf16 = 1UL << 14;  // HWCAP2_BF16
  return getauxval(AT_HWCAP2) & bf16 ? NULL : "";
#else
  return "";
#endif
}

#pragma clang assume_nonnull end

#ifdef __cplusplus
}
#endif
