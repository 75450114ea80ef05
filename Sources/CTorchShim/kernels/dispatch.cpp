// Which instruction set the kernels use.

#include "kernels.hpp"

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace coppice::kernels {
namespace {

// The best one first.
const Table *const *available() {
  static const Table *tables[5] = {};
  static const bool filled = [] {
    int count = 0;
#ifdef __x86_64__
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (avx512 && __builtin_cpu_supports("avx512bf16")) tables[count++] = &avx512_bf16_table;
    if (avx512) tables[count++] = &avx512_table;
    if (avx2) tables[count++] = &avx2_table;
#endif
    tables[count] = &generic_table;
    return true;
  }();
  (void)filled;
  return tables;
}

bool find(std::string_view name, const Table *&table) {
  const Table *const *tables = available();
  if (name.empty()) {
    table = tables[0];
    return true;
  }
  if (name == "off") {
    table = nullptr;
    return true;
  }
  for (; *tables; ++tables) {
    if (name == (*tables)->name) {
      table = *tables;
      return true;
    }
  }
  return false;
}

// An unknown name in the environment is no reason to fail: the best is used then.
std::atomic<const Table *> &current() {
  static std::atomic<const Table *> table = [] {
    const char *name = std::getenv("COPPICE_KERNELS");
    const Table *found = nullptr;
    if (!find(name ? name : "", found)) find("", found);
    return found;
  }();
  return table;
}

}  // namespace

const Table *chosen() { return current().load(std::memory_order_relaxed); }

bool choose(const char *name) {
  const Table *table = nullptr;
  if (!find(name ? name : "", table)) return false;
  current().store(table, std::memory_order_relaxed);
  return true;
}

}  // namespace coppice::kernels
