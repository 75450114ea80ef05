#define _GNU_SOURCE
#include "CTorch.h"

#include <dlfcn.h>
#ifdef __GLIBC__
#include <link.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *message(const char *format, ...) {
  char *text = NULL;
  va_list arguments;
  va_start(arguments, format);
  int length = vasprintf(&text, format, arguments);
  va_end(arguments);
  return length < 0 ? strdup("out of memory") : text;
}

static const char *reason(void) {
  const char *text = dlerror();
  return text ? text : "unknown reason";
}

// Global, so that the shim and libtorch's own plug-ins resolve against these copies and no others. Calls among libtorch's
// libraries, tens of thousands, are looked up when they are first made: most never are. (What the shim calls is looked up at
// once: a libtorch that does not fit is found here.)
static char *open_library(const char *folder, const char *name) {
  char *path = message("%s/%s", folder, name);
  void *handle = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
  char *error = handle ? NULL : message("cannot open %s: %s", path, reason());
  free(path);
  return error;
}

void ct_prepare(void) {
  // How idle OpenMP workers wait; read once, when OpenMP is loaded. By default they spin for milliseconds, and where
  // cores are shared an operation then waits whole time slices for a worker that lost its core. Sleeping at once
  // costs a wake-up for each operation, half the time of small models. So they spin for some tens of
  // microseconds and sleep then (Benchmarks/kernels.md). Here and not where libtorch is opened: that may be on another
  // thread, and setenv is not safe while any thread reads the environment.
  const char *policy = getenv("OMP_WAIT_POLICY");
  if (!policy || !*policy) {
    setenv("OMP_WAIT_POLICY", "PASSIVE", 1);
    const char *spins = getenv("GOMP_SPINCOUNT");
    if (!spins || !*spins) setenv("GOMP_SPINCOUNT", "2000", 1);
  }
  // c10d logs a warning with a C++ backtrace for every connection that ends, and its errors come as exceptions besides: what
  // they mean is said by whoever waits.
  const char *level = getenv("TORCH_CPP_LOG_LEVEL");
  if (!level || !*level) setenv("TORCH_CPP_LOG_LEVEL", "FATAL", 1);
#ifdef __GLIBC__
  // libtorch makes hundreds of thousands of small objects while it is opened, and malloc asks the system for a few pages at
  // a time: a tenth of the time. More is reserved, not used. Setting this fixes the other limits, which are raised to
  // what malloc would raise them to by and by.
  mallopt(M_TOP_PAD, 16 << 20);
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 32 << 20);
#endif
}

ct_error ct_open(
  const char *lib, const char *shim, const ct_api *_Nullable *_Nonnull api, char *_Nullable *_Nonnull cuda_reason) {
  *api = NULL;
  *cuda_reason = NULL;

  char *error = open_library(lib, "libc10.so");
  if (!error) error = open_library(lib, "libtorch_cpu.so");
  if (error) return error;

  char *cuda = message("%s/libtorch_cuda.so", lib);
  if (access(cuda, F_OK) != 0) {
    *cuda_reason = message("this libtorch has no libtorch_cuda.so (%s)", lib);
  } else if (!dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
    // Half a gigabyte of kernels is not worth opening where nothing can run them.
    *cuda_reason = message("no NVIDIA driver: %s", reason());
  } else {
    *cuda_reason = open_library(lib, "libtorch_cuda.so");
  }
  free(cuda);

  void *handle = dlopen(shim, RTLD_NOW | RTLD_LOCAL);
  if (!handle) return message("cannot open %s: %s", shim, reason());
  ct_entry entry = (ct_entry)dlsym(handle, CT_ENTRY);
  if (!entry) return message("%s is not Coppice's libtorch library: it has no symbol %s", shim, CT_ENTRY);
  *api = entry(CT_ABI);
  if (!*api) return message("%s belongs to another build of Coppice: build both again with `swift build -c release`", shim);

  // The table is filled file by file: a member that was forgotten is found here, not when it is called.
  const char *table = (const char *)*api;
  for (size_t offset = 0; offset < sizeof(ct_api); offset += sizeof(void *)) {
    void *member;
    memcpy(&member, table + offset, sizeof member);
    if (!member) {
      *api = NULL;
      return message("%s is incomplete: entry %zu of its table is empty", shim, offset / sizeof(void *));
    }
  }
  return NULL;
}

char *_Nullable ct_loaded_path(const char *name) {
#ifdef __GLIBC__
  void *handle = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
  if (!handle) return NULL;
  struct link_map *map = NULL;
  char *path = dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map ? realpath(map->l_name, NULL) : NULL;
  dlclose(handle);
  return path;
#else
  (void)name;
  return NULL;
#endif
}

char *_Nullable ct_own_path(void) {
  Dl_info info;
  if (dladdr((void *)&ct_own_path, &info) == 0 || !info.dli_fname) return NULL;
  return realpath(info.dli_fname, NULL);
}
