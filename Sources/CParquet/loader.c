#define _GNU_SOURCE
#include "CParquet.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
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

static const char *setting(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

#ifdef __APPLE__
#define LIBRARY "libcoppice_parquet.dylib"
#else
#define LIBRARY "libcoppice_parquet.so"
#endif

// The library in the folder of a file, or in the lib folder beside that. NULL when it is in neither.
static char *beside(const char *file) {
  const char *slash = strrchr(file, '/');
  if (!slash) return NULL;
  int folder = (int)(slash - file);
  const char *places[] = {"", "/../lib"};
  for (int i = 0; i < 2; ++i) {
    char *path = message("%.*s%s/%s", folder, file, places[i], LIBRARY);
    if (access(path, R_OK) == 0) return path;
    free(path);
  }
  return NULL;
}

// The library among the Python packages that a program in the bin folder of the same prefix was installed with.
static char *packaged(const char *executable) {
  const char *slash = strrchr(executable, '/');
  if (!slash) return NULL;
  // Characters that patterns give a meaning are made plain.
  char folder[2 * PATH_MAX];
  size_t length = 0;
  for (const char *c = executable; c < slash && length + 2 < sizeof folder; ++c) {
    if (strchr("*?[\\", *c)) folder[length++] = '\\';
    folder[length++] = *c;
  }
  folder[length] = 0;
  char *pattern = message("%s/../lib*/python3*/*-packages/coppice/%s", folder, LIBRARY);
  glob_t found;
  char *path = NULL;
  if (glob(pattern, 0, NULL, &found) == 0) {
    if (found.gl_pathc > 0) path = realpath(found.gl_pathv[0], NULL);
    globfree(&found);
  }
  free(pattern);
  return path;
}

static char *find(void) {
  const char *named = setting("COPPICE_PARQUET_SHIM");
  if (named) return strdup(named);
  char *found = NULL;
  Dl_info info;
  if (dladdr((void *)&cp_open, &info) && info.dli_fname) {
    char *own = realpath(info.dli_fname, NULL);
    if (own) found = beside(own);
    free(own);
  }
  if (found) return found;
  char executable[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", executable, sizeof executable - 1);
  if (length <= 0) return NULL;
  executable[length] = 0;
  found = beside(executable);
  return found ? found : packaged(executable);
}

// Opened first and by path: the shim then finds them loaded already, whatever path it was linked with.
static char *open_arrow(const char *folder) {
  const char *names[] = {"libarrow.so.2600", "libparquet.so.2600"};
  for (int i = 0; i < 2; ++i) {
    char *path = message("%s/%s", folder, names[i]);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    free(path);
    if (!handle)
      return message("Arrow was expected in %s, where %s cannot be opened: %s", folder, names[i], reason());
  }
  return NULL;
}

// Arrow of the pyarrow beside the package that the library is in; NULL where there is none.
static char *arrow_beside(const char *path) {
  const char *end = path ? strstr(path, "-packages/coppice/") : NULL;
  if (!end) return NULL;
  char *folder = message("%.*s-packages/pyarrow", (int)(end - path), path);
  if (access(folder, R_OK) == 0) return folder;
  free(folder);
  return NULL;
}

cp_error cp_open(const cp_api *_Nullable *_Nonnull api) {
  *api = NULL;
  char *path = find();
  const char *named = setting("COPPICE_ARROW");
  char *arrow = named ? strdup(named) : arrow_beside(path);
  char *error = arrow ? open_arrow(arrow) : NULL;
  free(arrow);
  if (error) {
    free(path);
    return error;
  }
  if (!path)
    return message(
      "%s was not found beside the program: build it (swift build), or name the file in COPPICE_PARQUET_SHIM", LIBRARY);
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    error = message("cannot open %s: %s. Set COPPICE_ARROW to the folder of pyarrow 26.0.1", path, reason());
  } else {
    cp_entry entry = (cp_entry)dlsym(handle, CP_ENTRY);
    if (!entry) {
      error = message("%s is not Coppice's Parquet library: it has no symbol %s", path, CP_ENTRY);
    } else if (!(*api = entry(CP_ABI))) {
      error = message("%s belongs to another build of Coppice: build both again with `swift build -c release`", path);
    }
  }
  free(path);
  return error;
}
