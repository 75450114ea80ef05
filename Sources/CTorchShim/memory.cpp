// Memory of large tensors, kept when they go and handed out again.
//
// A walk over a model makes the same tensors for every batch of every layer. By default malloc gives large ones back to
// the system, which clears every page of the next one: more time than most operations over it take. Blocks
// of several megabytes lie on huge pages where the system offers them.

#include "shim.hpp"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <map>
#include <mutex>
#include <unordered_map>

#ifdef __linux__
#include <sys/mman.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace coppice {
namespace {

#ifdef __linux__

// Smaller tensors are malloc's, which keeps those well.
constexpr size_t kLeast = 256 << 10;
constexpr size_t kHuge = 2 << 20;
constexpr size_t kPage = 4 << 10;
constexpr size_t kSpare = 64 << 20;

size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

class Blocks final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes < kLeast || limit() == 0) return c10::GetDefaultCPUAllocator()->allocate(bytes);
    void *memory = take(bytes);
    return {memory, memory, &give_back, at::kCPU};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &give_back_any; }

  void copy_data(void *to, const void *from, size_t count) const override { default_copy_data(to, from, count); }

  void keep(size_t bytes) {
    std::lock_guard lock(mutex_);
    limit_ = bytes;
    trim(bytes);
  }

  size_t limit() {
    std::lock_guard lock(mutex_);
    return limit_;
  }

  void trim() {
    std::lock_guard lock(mutex_);
    trim(0);
    peak_ = in_use_;
  }

  static Blocks &shared() {
    // Never destroyed: tensors may outlive everything else.
    static Blocks *blocks = new Blocks;
    return *blocks;
  }

 private:
  // A size that tensors of nearly the same size share: an eighth of their power of two, whole pages, or whole huge
  // pages where those waste little.
  static size_t class_of(size_t bytes) {
    TORCH_CHECK(bytes < (size_t{1} << 62), "a tensor of ", bytes, " bytes fits no memory");
    size_t huge = round_up(bytes, kHuge);
    if (huge - bytes <= bytes / 8) return huge;
    size_t power = size_t{1} << (63 - __builtin_clzll(bytes));
    return round_up(bytes, std::max(power / 8, kPage));
  }

  void *take(size_t bytes) {
    size_t size = class_of(bytes);
    std::lock_guard lock(mutex_);
    // The smallest that fits, but none that would leave a quarter of it idle.
    if (auto found = free_.lower_bound(size); found != free_.end() && found->first <= size + size / 4) {
      auto [kept, memory] = *found;
      free_.erase(found);
      kept_ -= kept;
      use(memory, kept);
      return memory;
    }
    // Sizes that nobody asks for any more make room for those that come.
    trim(room(size));
    void *memory = map(size);
    if (!memory) {
      trim(0);
      memory = map(size);
    }
    TORCH_CHECK(memory, "cannot allocate the memory of a tensor of ", bytes, " bytes");
    use(memory, size);
    return memory;
  }

  void use(void *memory, size_t size) {
    used_[memory] = size;
    in_use_ += size;
    peak_ = std::max(peak_, in_use_);
  }

  // What may be kept beside what is in use and `more`: all of it together takes little more than what has been in use
  // at once.
  size_t room(size_t more) {
    size_t most = peak_ + peak_ / 4 + kSpare;
    return std::min(limit_, most - std::min(most, in_use_ + more));
  }

  static void *map(size_t size) {
    bool huge = size % kHuge == 0;
    size_t spare = huge ? kHuge : 0;
    void *mapped = mmap(nullptr, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    if (!huge) return mapped;
    char *start = static_cast<char *>(mapped);
    char *aligned = reinterpret_cast<char *>(round_up(reinterpret_cast<size_t>(start), kHuge));
    if (aligned > start) munmap(start, static_cast<size_t>(aligned - start));
    if (char *end = start + size + spare; aligned + size < end) {
      munmap(aligned + size, static_cast<size_t>(end - (aligned + size)));
    }
    madvise(aligned, size, MADV_HUGEPAGE);
    return aligned;
  }

  bool put(void *memory) {
    std::lock_guard lock(mutex_);
    auto found = used_.find(memory);
    if (found == used_.end()) return false;
    size_t size = found->second;
    used_.erase(found);
    in_use_ -= size;
    size_t room = this->room(0);
    if (size > room) {
      munmap(memory, size);
      return true;
    }
    // What was freed last is what is asked for next: others make room for it.
    trim(room - size);
    free_.emplace(size, memory);
    kept_ += size;
    return true;
  }

  // Gives the largest blocks back until at most `bytes` are kept.
  void trim(size_t bytes) {
    while (kept_ > bytes && !free_.empty()) {
      auto last = std::prev(free_.end());
      munmap(last->second, last->first);
      kept_ -= last->first;
      free_.erase(last);
    }
  }

  static void give_back(void *memory) { shared().put(memory); }
  static void give_back_any(void *memory) {
    if (!shared().put(memory)) c10::free_cpu(memory);
  }

  std::mutex mutex_;
  std::multimap<size_t, void *> free_;
  std::unordered_map<void *, size_t> used_;
  size_t kept_ = 0, in_use_ = 0, peak_ = 0;
  size_t limit_ = size_t{4} << 30;
};

void keep_memory(size_t bytes) { Blocks::shared().keep(bytes); }
void trim_memory() { Blocks::shared().trim(); }
void install() { c10::SetCPUAllocator(&Blocks::shared(), /*priority=*/1); }

#else
void keep_memory(size_t) {}
void trim_memory() {}
void install() {}
#endif

}  // namespace

void fill_memory(ct_api &api) {
  install();
  api.keep_memory = [](size_t bytes) { keep_memory(bytes); };
  api.release_memory = [] {
    trim_memory();
#ifdef __GLIBC__
    malloc_trim(0);
#endif
  };
}

}  // namespace coppice
