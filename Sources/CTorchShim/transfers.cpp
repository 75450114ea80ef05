// Copies to an accelerator that go on beside its work: from pinned memory, on a stream of their own. Written against
// libtorch's device-independent streams, so that nothing of CUDA is linked.

#include "shim.hpp"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>
#include <memory>
#include <mutex>

struct ct_transfer {
  at::Tensor value;
  // Pinned memory is read until the copy is done.
  at::Tensor source;
  std::optional<c10::Event> done;
};

namespace coppice {
namespace {

// One stream for copies on each device.
c10::Stream copy_stream(c10::Device device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::Stream> streams;
  std::lock_guard lock(mutex);
  auto found = streams.find(device.index());
  if (found == streams.end()) {
    c10::impl::VirtualGuardImpl guard(device.type());
    found = streams.emplace(device.index(), guard.getStreamFromGlobalPool(device, /*isHighPriority=*/false)).first;
  }
  return found->second;
}

std::unique_ptr<ct_transfer> send(const at::Tensor &tensor, int32_t number) {
  at::Device device = device_of(number);
  auto transfer = std::make_unique<ct_transfer>();
  if (!device.is_cuda() || !tensor.is_cpu()) {
    transfer->value = tensor.to(device);
    return transfer;
  }
  // Memory is pinned for the current device, which this thread may not have chosen yet.
  c10::DeviceGuard current(device);
  transfer->source = tensor.is_pinned() ? tensor : tensor.pin_memory();
  c10::Stream stream = copy_stream(device);
  c10::StreamGuard guard(stream);
  transfer->value = transfer->source.to(device, /*non_blocking=*/true);
  transfer->done.emplace(device.type());
  transfer->done->record(stream);
  return transfer;
}

at::Tensor receive(ct_transfer &transfer) {
  if (transfer.done) {
    c10::impl::VirtualGuardImpl guard(transfer.value.device().type());
    c10::Stream current = guard.getStream(transfer.value.device());
    // The device waits, not the caller; and the memory, which belongs to the other stream, is not given away before
    // this one has used it.
    transfer.done->block(current);
    transfer.value.record_stream(current);
  }
  return transfer.value;
}

}  // namespace

void fill_transfers(ct_api &api) {
  api.send = [](ct_tensor *tensor, int32_t device, ct_transfer **out) -> ct_error
    CT_CALL(*out = send(tensor->value, device).release());
  api.receive = [](ct_transfer *transfer, ct_out out) -> ct_error CT_CALL(*out = box(receive(*transfer)));
  api.transfer_free = [](ct_transfer *transfer) { delete transfer; };
  api.device_memory = [](int32_t device, size_t *free, size_t *total) -> ct_error CT_CALL({
    at::Device place = device_of(device);
    TORCH_CHECK(place.is_cuda(), "the memory of ", place, " is not told apart from the machine's");
    std::tie(*free, *total) = c10::getDeviceAllocator(place.type())->getMemoryInfo(place.index());
  });
}

}  // namespace coppice
