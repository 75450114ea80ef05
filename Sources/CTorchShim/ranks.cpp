// Processes that work together: c10d's key-value store over TCP, and Gloo's messages from process to process. libtorch_cpu
// has the code; nothing of it runs, and no socket or thread is made, before `store_open`.

#define USE_C10D_GLOO

#include "ranks.hpp"

#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <chrono>
#include <memory>

struct ct_store {
  c10::intrusive_ptr<c10d::TCPStore> server;
  // The same below a prefix.
  c10::intrusive_ptr<c10d::Store> value;
};

struct ct_group {
  c10::intrusive_ptr<c10d::ProcessGroupGloo> value;
};

namespace coppice {
namespace {

std::chrono::milliseconds duration(double seconds) {
  TORCH_CHECK(seconds >= 0, "a time to wait is negative");
  // A month, where more is asked for: c10d adds it to the time of day.
  return std::chrono::milliseconds(static_cast<int64_t>(std::min(seconds, 2'592'000.0) * 1000));
}

struct GlooWork : ct_work {
  c10::intrusive_ptr<c10d::Work> value;

  explicit GlooWork(c10::intrusive_ptr<c10d::Work> value) : value(std::move(value)) {}
  bool wait(double timeout) override { return value->wait(duration(timeout)); }
  void abort() override { value->abort(); }
};

std::vector<uint8_t> bytes(const void *start, size_t count) {
  auto first = static_cast<const uint8_t *>(start);
  return count ? std::vector<uint8_t>(first, first + count) : std::vector<uint8_t>();
}

void hand_over(const std::vector<uint8_t> &bytes, void *context, ct_receive receive) {
  receive(context, bytes.data(), bytes.size());
}

ct_store *open_store(
  const char *host, uint16_t port, int32_t listener, bool serves, double timeout, const char *prefix) {
  // Python does this, nobody else: reads TORCH_CPP_LOG_LEVEL, which the loader sets.
  static const bool logging = (c10::initLogging(), true);
  static_cast<void>(logging);
  c10d::TCPStoreOptions options;
  options.port = port;
  options.isServer = serves;
  options.waitWorkers = false;
  options.timeout = duration(timeout);
  if (listener >= 0) options.masterListenFd = listener;
  auto store = std::make_unique<ct_store>();
  store->server = c10::make_intrusive<c10d::TCPStore>(host, options);
  store->value = c10::make_intrusive<c10d::PrefixStore>(prefix, store->server);
  return store.release();
}

ct_group *open_group(
  ct_store *store, int32_t rank, int32_t size, const char *address, const char *interface, double timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(duration(timeout));
  options->devices.push_back(
    interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
              : c10d::ProcessGroupGloo::createDeviceForHostname(address));
  // For collective operations, of which none is used: messages are the device's own thread's.
  options->threads = 1;
  return new ct_group{c10::make_intrusive<c10d::ProcessGroupGloo>(store->value, rank, size, options)};
}

at::Tensor &whole(ct_tensor *tensor) {
  TORCH_CHECK(
    tensor->value.is_cpu() && tensor->value.is_contiguous(), "only contiguous tensors in the machine's memory are sent");
  return tensor->value;
}

}  // namespace

void fill_ranks(ct_api &api) {
  api.store_open = [](
                     const char *host, uint16_t port, int32_t listener, bool serves, double timeout, const char *prefix,
                     ct_store **out) -> ct_error
    CT_CALL(*out = open_store(host, port, listener, serves, timeout, prefix));
  api.store_free = [](ct_store *store) { delete store; };
  api.store_port = [](ct_store *store) { return store->server->getPort(); };
  api.store_set = [](ct_store *store, const char *key, const void *value, size_t count) -> ct_error
    CT_CALL(store->value->set(key, bytes(value, count)));
  api.store_has = [](ct_store *store, const char *key, bool *out) -> ct_error CT_CALL(*out = store->value->check({key}));
  api.store_get =
    [](ct_store *store, const char *key, double timeout, void *context, ct_receive receive) -> ct_error CT_CALL({
      store->value->wait({key}, duration(timeout));
      hand_over(store->value->get(key), context, receive);
    });
  api.store_first =
    [](ct_store *store, const char *key, const void *value, size_t count, void *context, ct_receive receive) -> ct_error
    CT_CALL(hand_over(store->value->compareSet(key, {}, bytes(value, count)), context, receive));

  api.group_open = [](
                     ct_store *store, int32_t rank, int32_t size, const char *address, const char *interface,
                     double timeout, ct_group **out) -> ct_error
    CT_CALL(*out = open_group(store, rank, size, address, interface, timeout));
  api.group_free = [](ct_group *group) { delete group; };
  api.group_send = [](ct_group *group, ct_tensor *tensor, int32_t rank, int32_t tag, ct_work **out) -> ct_error
    CT_CALL({
      std::vector<at::Tensor> tensors{whole(tensor)};
      *out = new GlooWork(group->value->send(tensors, rank, tag));
    });
  api.group_receive = [](ct_group *group, ct_tensor *tensor, int32_t rank, int32_t tag, ct_work **out) -> ct_error
    CT_CALL({
      writable(tensor);
      std::vector<at::Tensor> tensors{whole(tensor)};
      *out = new GlooWork(group->value->recv(tensors, rank, tag));
    });
  api.work_wait = [](ct_work *work, double timeout, bool *out) -> ct_error
    CT_CALL(*out = work->wait(timeout));
  api.work_abort = [](ct_work *work) -> ct_error CT_CALL(work->abort());
  api.work_free = [](ct_work *work) { delete work; };
}

}  // namespace coppice
