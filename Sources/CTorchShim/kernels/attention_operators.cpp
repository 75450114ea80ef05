#include "heads.hpp"

#include "../products.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace coppice {

at::Tensor unseen(
  const at::Tensor &q, const at::Tensor &k, int64_t first, int64_t count, const AttentionOptions &options) {
  if (!options.causal) return {};
  auto whole = q.options().dtype(at::kLong);
  at::Tensor query = at::arange(first, first + count, whole).add(k.size(1) - q.size(1)).unsqueeze(1);
  at::Tensor back = query - at::arange(k.size(1), whole);
  at::Tensor hidden = back < 0;
  return options.window > 0 ? hidden.logical_or_(back >= options.window) : hidden;
}

namespace {

// Everything in float32, and with grouped heads repeated. Scores are written to memory, for so many queries at a time
// that they take 256 MiB.
at::Tensor attend_block_by_block(
  const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &sinks,
  const AttentionOptions &options, const at::Tensor &lse) {
  constexpr int64_t kScores = 64 << 20;
  auto heads = [&](const at::Tensor &x) {
    return in_float32(x.transpose(1, 2)).repeat_interleave(q.size(2) / x.size(2), 1);
  };
  const at::Tensor keys = heads(k).transpose(2, 3), values = heads(v);
  const int64_t step = std::max<int64_t>(1, kScores / (q.size(0) * q.size(2) * k.size(1)));
  std::vector<at::Tensor> results;
  for (int64_t first = 0; first < q.size(1); first += step) {
    const int64_t count = std::min(step, q.size(1) - first);
    at::Tensor scores = at::matmul(heads(q.narrow(1, first, count)), keys).mul(options.scale);
    if (options.softcap > 0) scores = scores.div(options.softcap).tanh().mul(options.softcap);
    at::Tensor hidden = unseen(q, k, first, count, options);
    if (hidden.defined()) scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
    if (sinks.defined()) {
      const int64_t shape[4] = {q.size(0), q.size(2), count, 1};
      scores = at::cat({scores, sinks.view({1, -1, 1, 1}).expand(at::IntArrayRef(shape, 4))}, 3);
    }
    if (lse.defined()) lse.narrow(1, first, count).copy_(at::logsumexp(scores, {3}).transpose(1, 2));
    results.push_back(at::matmul(at::softmax(scores, 3).narrow(3, 0, k.size(1)), values).transpose(1, 2));
  }
  return at::cat(results, 1).to(q.scalar_type());
}

// A sink is one more key, whose value is zero and whose score is the sink's whatever the query: channels that all
// queries hold at one carry it. Eight of them, because kernels like such widths; the first two add up to the score, the
// second being what the first lost in rounding.
void join_sinks(at::Tensor &q, at::Tensor &k, at::Tensor &v, const at::Tensor &sinks, double scale) {
  constexpr int64_t kExtra = 8;
  auto padded = [](const at::Tensor &x, int64_t channels) { return at::constant_pad_nd(x, {0, channels}); };
  const int64_t key_width = k.size(3);
  q = padded(q, kExtra);
  q.narrow(3, key_width, 2).fill_(1);
  at::Tensor score = sinks.div(scale);
  at::Tensor coarse = score.to(k.scalar_type());
  at::Tensor fine = score.sub(coarse.to(at::kFloat)).to(k.scalar_type());
  k = at::constant_pad_nd(k, {0, kExtra, 0, 0, 0, 1});
  at::Tensor sink = k.select(1, k.size(1) - 1);  // [B, N, width]
  sink.select(2, key_width).copy_(coarse);
  sink.select(2, key_width + 1).copy_(fine);
  v = at::constant_pad_nd(v, {0, 0, 0, 0, 0, 1});
}

}  // namespace

at::Tensor attend_with_operators(
  const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &sinks,
  const AttentionOptions &options, const at::Tensor &lse) {
  if (is_slow(q)) {
    return attend_with_operators(widened(q), widened(k), widened(v), sinks, options, lse).to(q.scalar_type());
  }
  if (lse.defined() || options.softcap > 0) return attend_block_by_block(q, k, v, sinks, options, lse);
  const bool narrow = options.window > 0 && options.window < k.size(1);
  const bool masks = sinks.defined() || narrow || (options.causal && k.size(1) != q.size(1));
  at::Tensor query = q, key = k, value = v, mask;
  if (masks) {
    // Fused kernels that take a mask want as many heads of keys as of queries.
    const int64_t shared = q.size(2) / k.size(2);
    key = k.repeat_interleave(shared, 2);
    value = v.repeat_interleave(shared, 2);
    at::Tensor hidden = unseen(q, k, 0, q.size(1), options);
    if (hidden.defined()) mask = hidden.logical_not_();
    if (sinks.defined()) {
      if (mask.defined()) mask = at::constant_pad_nd(mask, {0, 1}, true);
      join_sinks(query, key, value, sinks, options.scale);
    }
  }
  // And values as wide as keys.
  const int64_t missing = key.size(3) - value.size(3);
  if (missing > 0) value = at::constant_pad_nd(value, {0, missing});
  at::Tensor result = at::scaled_dot_product_attention(
    query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2),
    mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt, 0.0, options.causal && !mask.defined(),
    options.scale, query.size(2) != key.size(2));
  return result.narrow(3, 0, v.size(3)).transpose(1, 2);
}

}  // namespace coppice
