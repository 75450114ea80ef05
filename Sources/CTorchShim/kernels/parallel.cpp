#include "parallel.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>

#include <algorithm>
#include <atomic>

namespace coppice {
namespace {

constexpr int64_t kWorthThreads = 32768;

}  // namespace

// at::parallel_for is compiled into its caller and needs the compiler's OpenMP, which Clang would bring in beside the
// one that libtorch was built with. TensorIterator runs its loops inside libtorch, whichever threads that has:
// so each worker is one element of a tensor that nobody reads.
void parallel(int64_t count, int64_t elements, c10::function_ref<void(int64_t)> task) {
  int64_t workers = std::min<int64_t>(count, at::get_num_threads());
  if (workers <= 1 || elements < kWorthThreads || at::in_parallel_region()) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  std::atomic<int64_t> next = 0;
  auto work = [&](char **, const int64_t *, int64_t, int64_t) {
    for (;;) {
      int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      task(i);
    }
  };
  at::Tensor slots = at::empty({workers}, at::kByte);
  auto iterator = at::TensorIterator::nullary_op(slots);
  iterator.for_each(work, /*grain_size=*/1);
}

}  // namespace coppice
