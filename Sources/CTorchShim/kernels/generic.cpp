// The kernels for any machine: whatever the compiler makes of sixteen lanes.

#include "kernels.hpp"

// Vectors wider than the target's registers are passed between functions that are always inlined only.
#pragma clang diagnostic ignored "-Wpsabi"

namespace coppice::kernels {
namespace generic {
#include "table.inl"
}  // namespace generic

const Table generic_table = generic::make_table("generic");

}  // namespace coppice::kernels
