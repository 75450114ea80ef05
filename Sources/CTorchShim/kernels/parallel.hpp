#pragma once

#include <c10/util/FunctionRef.h>

#include <cstdint>

namespace coppice {

// Runs task(0) … task(count - 1) on libtorch's threads, each taking the next one when it is free: a core that
// is busy elsewhere then delays one task, not half of them. In the calling thread alone where `elements`, the size of all
// the work, is not worth waking others for. Tasks must not throw.
void parallel(int64_t count, int64_t elements, c10::function_ref<void(int64_t)> task);

}  // namespace coppice
