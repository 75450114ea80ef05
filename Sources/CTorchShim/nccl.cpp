// Messages between two GPUs by NCCL, without the machine's memory. NCCL is opened when it is first asked for: its few calls are
// declared here as its manual has them (https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/api.html). Streams and
// events are libtorch's device-independent ones, so that nothing of CUDA is linked.

#include "ranks.hpp"

#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

namespace coppice {
namespace {

struct UniqueId {
  char bytes[CT_CHANNEL_ID];
};
using Communicator = void *;
enum : int { success = 0, in_progress = 7, bytes_type = 1 };

struct Library {
  int (*version)(int *);
  int (*unique_id)(UniqueId *);
  int (*init)(Communicator *, int size, UniqueId id, int rank);
  int (*send)(const void *, size_t count, int type, int peer, Communicator, void *stream);
  int (*receive)(void *, size_t count, int type, int peer, Communicator, void *stream);
  int (*async_error)(Communicator, int *);
  int (*abort)(Communicator);
  const char *(*describe)(int);

  explicit Library(const std::string &path) {
    // libtorch's CUDA part has opened it, where it is linked to it.
    void *handle = path.empty() ? dlopen("libnccl.so.2", RTLD_NOW | RTLD_NOLOAD) : nullptr;
    const char *name = path.empty() ? "libnccl.so.2" : path.c_str();
    if (!handle) handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    TORCH_CHECK(handle, "cannot open NCCL: ", dlerror());
    find(handle, name, "ncclGetVersion", version);
    find(handle, name, "ncclGetUniqueId", unique_id);
    find(handle, name, "ncclCommInitRank", init);
    find(handle, name, "ncclSend", send);
    find(handle, name, "ncclRecv", receive);
    find(handle, name, "ncclCommGetAsyncError", async_error);
    find(handle, name, "ncclCommAbort", abort);
    find(handle, name, "ncclGetErrorString", describe);
  }

  void check(int result, const char *call) const {
    TORCH_CHECK(result == success || result == in_progress, "NCCL's ", call, ": ", describe(result));
  }

 private:
  template <typename Function>
  static void find(void *handle, const char *path, const char *name, Function &function) {
    void *symbol = dlsym(handle, name);
    TORCH_CHECK(symbol, path, " is not NCCL 2.7 or later: it has no ", name);
    function = reinterpret_cast<Function>(symbol);
  }
};

// Opened once; what fails is tried again.
const Library &library(const char *path) {
  static std::mutex mutex;
  static std::unique_ptr<Library> opened;
  std::lock_guard lock(mutex);
  if (!opened) opened = std::make_unique<Library>(path ? path : "");
  return *opened;
}

// Two processes' connection. An aborted one is gone: NCCL allows nothing more with it.
struct Connection {
  const Library &nccl;
  Communicator value = nullptr;
  int peer;
  at::Device device;
  std::optional<c10::Stream> stream;
  std::mutex mutex;

  Connection(const Library &nccl, const UniqueId &id, int rank, at::Device device)
    : nccl(nccl), peer(1 - rank), device(device) {
    c10::OptionalDeviceGuard guard;
    if (!device.is_cpu()) {
      guard.reset_device(device);
      c10::impl::VirtualGuardImpl impl(device.type());
      stream = impl.getStreamFromGlobalPool(device, /*isHighPriority=*/true);
    }
    nccl.check(nccl.init(&value, 2, id, rank), "ncclCommInitRank");
  }

  ~Connection() { abort(); }

  void abort() {
    std::lock_guard lock(mutex);
    if (value) nccl.abort(value);
    value = nullptr;
  }

  // Throws where the other side or the network is known to be broken.
  bool is_usable() {
    std::lock_guard lock(mutex);
    if (!value) return false;
    int error = success;
    nccl.check(nccl.async_error(value, &error), "ncclCommGetAsyncError");
    nccl.check(error, "connection");
    return true;
  }
};

struct ChannelWork : ct_work {
  std::shared_ptr<Connection> connection;
  at::Tensor tensor;
  std::optional<c10::Event> done;
  std::atomic<bool> is_aborted = false;

  bool wait(double timeout) override {
    using namespace std::chrono;
    auto start = steady_clock::now();
    for (auto pause = microseconds(10); done && !done->query(); pause = std::min(pause * 2, microseconds(500))) {
      if (is_aborted || !connection->is_usable()) return false;
      TORCH_CHECK(
        duration<double>(steady_clock::now() - start).count() < timeout, "no message came or went in ", timeout, " seconds");
      std::this_thread::sleep_for(pause);
    }
    return !is_aborted;
  }

  void abort() override {
    is_aborted = true;
    connection->abort();
  }
};

// On a stream of the connection's own, after what the device has been asked to do so far and beside what it is asked next.
ct_work *start(std::shared_ptr<Connection> connection, const at::Tensor &tensor, bool sends) {
  TORCH_CHECK(
    tensor.device() == connection->device && tensor.is_contiguous(), "this channel carries contiguous tensors on ",
    connection->device, ", not on ", tensor.device());
  auto work = std::make_unique<ChannelWork>();
  work->tensor = tensor;
  c10::OptionalDeviceGuard guard;
  void *native = nullptr;
  if (auto stream = connection->stream) {
    guard.reset_device(connection->device);
    c10::impl::VirtualGuardImpl impl(connection->device.type());
    c10::Event ready(connection->device.type());
    ready.record(impl.getStream(connection->device));
    ready.block(*stream);
    tensor.record_stream(*stream);
    native = stream->native_handle();
  }
  {
    std::lock_guard lock(connection->mutex);
    TORCH_CHECK(connection->value, "the connection was ended");
    auto &nccl = connection->nccl;
    void *data = tensor.data_ptr();
    int peer = connection->peer;
    nccl.check(
      sends ? nccl.send(data, tensor.nbytes(), bytes_type, peer, connection->value, native)
            : nccl.receive(data, tensor.nbytes(), bytes_type, peer, connection->value, native),
      sends ? "ncclSend" : "ncclRecv");
  }
  if (auto stream = connection->stream) {
    work->done.emplace(connection->device.type());
    work->done->record(*stream);
  }
  work->connection = std::move(connection);
  return work.release();
}

// The bus address of a GPU, which two processes of one machine see alike however they number theirs.
void device_address(int32_t number, void *context, ct_receive receive) {
  at::Device device = device_of(number);
  if (!device.is_cuda()) return receive(context, nullptr, 0);
  using Function = int (*)(char *, int, int);
  auto function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, "cudaDeviceGetPCIBusId"));
  char text[32] = "";
  TORCH_CHECK(
    function && function(text, sizeof text, device.index()) == 0, "CUDA does not say which device ", device, " is");
  receive(context, text, strlen(text));
}

}  // namespace
}  // namespace coppice

struct ct_channel {
  std::shared_ptr<coppice::Connection> value;
};

namespace coppice {

void fill_nccl(ct_api &api) {
  api.device_address = [](int32_t device, void *context, ct_receive receive) -> ct_error
    CT_CALL(device_address(device, context, receive));
  api.channel_version = [](const char *path, int32_t *out) -> ct_error CT_CALL({
    const Library &nccl = library(path);
    int version = 0;
    nccl.check(nccl.version(&version), "ncclGetVersion");
    *out = version;
  });
  api.channel_id = [](const char *path, void *out) -> ct_error CT_CALL({
    const Library &nccl = library(path);
    UniqueId id;
    nccl.check(nccl.unique_id(&id), "ncclGetUniqueId");
    std::memcpy(out, id.bytes, sizeof id.bytes);
  });
  api.channel_open = [](const char *path, const void *bytes, int32_t rank, int32_t device, ct_channel **out) -> ct_error
    CT_CALL({
      UniqueId id;
      std::memcpy(id.bytes, bytes, sizeof id.bytes);
      *out = new ct_channel{std::make_shared<Connection>(library(path), id, rank, device_of(device))};
    });
  api.channel_send = [](ct_channel *channel, ct_tensor *tensor, ct_work **out) -> ct_error
    CT_CALL(*out = start(channel->value, tensor->value, /*sends=*/true));
  api.channel_receive = [](ct_channel *channel, ct_tensor *tensor, ct_work **out) -> ct_error
    CT_CALL(*out = start(channel->value, writable(tensor), /*sends=*/false));
  api.channel_free = [](ct_channel *channel) { delete channel; };
}

}  // namespace coppice
