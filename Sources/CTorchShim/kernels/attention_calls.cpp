// Attention: by the kernels where they fit, else by libtorch's operators.

#include "accelerated.hpp"
#include "parallel.hpp"
#include "recorded.hpp"

#include <ATen/MemoryOverlap.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

namespace coppice {

using namespace kernels;

namespace {

// What one thread needs at a time stays with it: fresh memory would cost more than packing keys into it.
void *scratch(int64_t bytes) {
  constexpr int64_t kKept = 8 << 20;
  struct Free {
    void operator()(void *p) const { std::free(p); }
  };
  thread_local std::unique_ptr<void, Free> memory;
  thread_local int64_t size = 0;
  if (bytes > size || (size > kKept && bytes <= kKept)) {
    memory.reset();
    size = 0;
    memory.reset(std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64)));
    if (memory) size = bytes;
  }
  return memory.get();
}

using Segments = c10::ArrayRef<ct_segment>;

// One call for each segment of a row.
std::vector<AttentionCall> calls_of(Segments segments, const AttentionCall &whole, int64_t element_size) {
  std::vector<AttentionCall> calls;
  calls.reserve(segments.size());
  auto token = [&](const Heads &x, int64_t at) {
    return static_cast<void *>(static_cast<char *>(x.data) + at * x.token * element_size);
  };
  for (const ct_segment &s : segments) {
    AttentionCall call = whole;
    call.q.data = token(whole.q, s.query);
    call.out.data = token(whole.out, s.query);
    call.prefix_k = token(whole.k, s.prefix);
    call.prefix_v = token(whole.v, s.prefix);
    call.k.data = token(whole.k, s.own);
    call.v.data = token(whole.v, s.own);
    call.prefix = s.prefix_keys;
    call.queries = s.queries;
    call.keys = s.prefix_keys + s.keys;
    calls.push_back(call);
  }
  return calls;
}

// Shares out calls of `rows` rows each.
void run_attention(
  const Table &table, Element element, c10::ArrayRef<AttentionCall> calls, int64_t rows, int64_t elements) {
  int64_t bytes = 0;
  for (const AttentionCall &call : calls) bytes = std::max(bytes, table.attention_scratch[element](call));
  // Enough tasks for every thread, but none so short that packing keys would show; the long ones first.
  const int64_t groups = calls[0].groups;
  const int64_t pairs = static_cast<int64_t>(calls.size()) * rows * groups;
  const int64_t wanted = (4 * at::get_num_threads() + pairs - 1) / pairs;
  const int64_t parts =
    calls.size() > 1 ? 1 : std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, calls[0].queries / 128));
  std::atomic<bool> failed = false;
  parallel(pairs * parts, elements, [&](int64_t task) {
    void *memory = scratch(bytes);
    if (!memory) {
      failed = true;
      return;
    }
    const int64_t part = parts - 1 - task / pairs;
    const int64_t pair = task % pairs;
    const AttentionCall &call = calls[static_cast<size_t>(pair / groups / rows)];
    AttentionBlock block{
      pair / groups % rows, pair % groups, call.queries * part / parts, call.queries * (part + 1) / parts};
    table.attention[element](call, block, memory);
  });
  TORCH_CHECK(!failed, "no memory for ", bytes, " bytes of packed keys and values");
}

void check_segments(Segments segments, const at::Tensor &q, const at::Tensor &k, const AttentionOptions &options, bool lse) {
  TORCH_CHECK(q.size(0) == 1 && options.causal && !lse, "segments want one row, causal attention and no log-sums");
  auto inside = [](int64_t start, int64_t count, int64_t size) {
    return start >= 0 && count >= 0 && start <= size && count <= size - start;
  };
  int64_t next = 0;
  for (const ct_segment &s : segments) {
    TORCH_CHECK(
      s.query == next && s.queries > 0 && inside(s.query, s.queries, q.size(1)) &&
        inside(s.prefix, s.prefix_keys, k.size(1)) && inside(s.own, s.keys, k.size(1)) && s.keys >= s.queries,
      "a segment of queries ", s.query, " + ", s.queries, " with keys ", s.prefix, " + ", s.prefix_keys, " and ", s.own,
      " + ", s.keys, " does not fit ", q.size(1), " queries and ", k.size(1), " keys, or does not follow the one before");
    next += s.queries;
  }
  TORCH_CHECK(next == q.size(1), "segments hold ", next, " of ", q.size(1), " queries");
}

// One segment after the other, each by `one`: a call of queries, keys and values.
template <class One>
at::Tensor attend_segments(
  const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, Segments segments, const One &one) {
  std::vector<at::Tensor> parts;
  for (const ct_segment &s : segments) {
    auto keys = [&](const at::Tensor &x) {
      at::Tensor own = x.narrow(1, s.own, s.keys);
      return s.prefix_keys > 0 ? at::cat({x.narrow(1, s.prefix, s.prefix_keys), own}, 1) : own;
    };
    parts.push_back(one(q.narrow(1, s.query, s.queries), keys(k), keys(v)));
  }
  return at::cat(parts, 1);
}

}  // namespace

at::Tensor attend(
  at::Tensor q, at::Tensor k, at::Tensor v, at::Tensor sinks, Segments segments, const AttentionOptions &options,
  ct_tensor *into, ct_tensor *lse_box) {
  TORCH_CHECK(
    q.dim() == 4 && k.dim() == 4 && v.dim() == 4, "query, key and value must have 4 dimensions, not ", q.sizes(), ", ",
    k.sizes(), " and ", v.sizes());
  TORCH_CHECK(
    k.size(0) == q.size(0) && v.size(0) == q.size(0) && v.size(1) == k.size(1) && v.size(2) == k.size(2) &&
      k.size(3) == q.size(3) && k.size(2) > 0 && q.size(2) % k.size(2) == 0 && k.scalar_type() == q.scalar_type() &&
      v.scalar_type() == q.scalar_type(),
    "query ", q.sizes(), ", key ", k.sizes(), " and value ", v.sizes(), " do not fit each other");
  TORCH_CHECK(
    k.size(1) > 0 && q.size(3) > 0 && (!options.causal || !segments.empty() || k.size(1) >= q.size(1)), "there are ",
    k.size(1), " keys for ", q.size(1), " queries");
  if (!segments.empty()) check_segments(segments, q, k, options, lse_box != nullptr);
  TORCH_CHECK(
    options.window >= 0 && options.softcap >= 0 && std::isfinite(options.scale) && options.scale > 0,
    "window and softcap must not be negative, the scale must be positive");
  TORCH_CHECK(options.causal || options.window == 0, "a window needs causal attention");
  if (sinks.defined()) {
    TORCH_CHECK(
      sinks.dim() == 1 && sinks.size(0) == q.size(2) && sinks.device() == q.device(), "sinks have shape ",
      sinks.sizes(), ", but there are ", q.size(2), " heads");
    sinks = in_float32(sinks).contiguous();
  }
  if (is_recorded(q, k, v, sinks)) {
    auto one = [&](const at::Tensor &q, const at::Tensor &k, const at::Tensor &v) {
      return recorded_attention(q, k, v, sinks, options);
    };
    return hand_over(into, segments.empty() ? one(q, k, v) : attend_segments(q, k, v, segments, one));
  }
  const int64_t shape[4] = {q.size(0), q.size(1), q.size(2), v.size(3)};
  at::Tensor lse = lse_box ? writable(lse_box) : at::Tensor();
  TORCH_CHECK(
    !lse_box || (lse.scalar_type() == at::kFloat && lse.is_contiguous() && lse.sizes() == at::IntArrayRef(shape, 3)),
    "the log-sums of exponentials take a contiguous float32 tensor of shape [", shape[0], ", ", shape[1], ", ",
    shape[2], "]");
  at::Tensor out = into ? writable(into) : at::empty(at::IntArrayRef(shape, 4), q.options());
  if (into) {
    TORCH_CHECK(
      out.sizes() == at::IntArrayRef(shape, 4) && out.scalar_type() == q.scalar_type() && out.device() == q.device(),
      "the result has shape ", at::IntArrayRef(shape, 4), " and type ", q.scalar_type(),
      "; the tensor to write it to has ", out.sizes(), " and ", out.scalar_type());
    at::assert_no_internal_overlap(out);
    for (const at::Tensor &input : {q, k, v}) {
      TORCH_CHECK(
        at::get_overlap_status(out, input) != at::MemOverlapStatus::Full &&
          at::get_overlap_status(out, input) != at::MemOverlapStatus::Partial,
        "the result cannot be written over the input: they overlap");
    }
  }
  if (out.numel() == 0) return out;

  const Table *table = chosen();
  auto element = element_of(q);
  auto out_heads = heads_of(out);
  if (table && element && plain(q) && plain(k) && plain(v) && (!sinks.defined() || plain(sinks)) && out_heads && k.size(1) < (1 << 24)) {
    AttentionCall call{
      .q = dense_heads(q),
      .k = dense_heads(k),
      .v = dense_heads(v),
      .out = *out_heads,
      .lse = lse_box ? lse.mutable_data_ptr<float>() : nullptr,
      .sinks = sinks.defined() ? static_cast<const float *>(sinks.const_data_ptr()) : nullptr,
      .queries = q.size(1),
      .keys = k.size(1),
      .heads = q.size(2),
      .groups = k.size(2),
      .prefix_k = nullptr,
      .prefix_v = nullptr,
      .prefix = 0,
      .width = q.size(3),
      .value_width = v.size(3),
      .window = options.window,
      .causal = options.causal,
      .scale = static_cast<float>(options.scale),
      .softcap = static_cast<float>(options.softcap),
    };
    if (segments.empty()) {
      run_attention(*table, *element, {&call, 1}, q.size(0), q.numel() + k.numel());
    } else {
      run_attention(*table, *element, calls_of(segments, call, q.element_size()), 1, q.numel() + k.numel());
    }
    return out;
  }
  auto one = [&](const at::Tensor &q, const at::Tensor &k, const at::Tensor &v) {
    return attend_with_operators(q, k, v, sinks, options, lse);
  };
  at::Tensor result;
  if (segments.empty()) {
    result = one(q, k, v);
  } else {
    result = accelerated_segments(q, k, v, sinks, segments, options);
    if (!result.defined()) result = attend_segments(q, k, v, segments, one);
  }
  return into ? out.copy_(result) : result.contiguous();
}

void fill_attention_kernels(ct_api &api) {
  api.attention_kernel = [](
                           ct_tensor *query, ct_tensor *key, ct_tensor *value, const ct_segment *segments, size_t count,
                           ct_tensor *sinks, bool causal, int64_t window, double scale, double softcap,
                           ct_tensor *into, ct_out out) -> ct_error
    CT_CALL(*out = box(attend(
              query->value, key->value, value->value, sinks ? sinks->value : at::Tensor(), Segments(segments, count),
              AttentionOptions{causal, window, scale, softcap}, into, nullptr)));
}

}  // namespace coppice
