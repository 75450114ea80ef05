#include "accelerated.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

namespace coppice {

namespace {

bool is_half(const at::Tensor &x) { return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf; }

// The statistics are float32; wider numbers would lose by them.
bool takes_norm(const at::Tensor &x, const at::Tensor &weight) {
  return x.is_cuda() && (is_half(x) || x.scalar_type() == at::kFloat) && x.dim() > 0 && x.numel() > 0 &&
    (!weight.defined() || weight.scalar_type() == x.scalar_type());
}

}  // namespace

std::pair<at::Tensor, at::Tensor> norm_with_operators(const at::Tensor &x, const at::Tensor &weight, double eps) {
  if (takes_norm(x, weight)) {
    auto [out, rstd] = at::_fused_rms_norm(x, {x.size(-1)}, given(weight), eps);
    return {out, rstd};
  }
  const at::Tensor wide = in_float32(x);
  at::Tensor rstd = at::rsqrt(at::mean(at::square(wide), {-1}, /*keepdim=*/true).add_(eps));
  at::Tensor out = at::mul(wide, rstd).to(x.scalar_type());
  return {weight.defined() ? at::mul(weight, out) : out, rstd};
}

std::optional<std::pair<at::Tensor, at::Tensor>> accelerated_norm_backward(
  const at::Tensor &dy, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &rstd) {
  if (!takes_norm(x, weight)) return std::nullopt;
  std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end());
  shape.back() = 1;
  auto [dx, dw] = at::_fused_rms_norm_backward(
    dy, x, {x.size(-1)}, rstd.view(shape), given(weight), {true, weight.defined()});
  return std::pair(dx, weight.defined() ? dw : at::Tensor());
}

namespace {

// Where the segments' keys are, one after the other, and where those of each segment and its queries begin. Layer after layer
// asks for the same.
struct Layout {
  std::vector<ct_segment> segments;
  c10::Device device = c10::Device(c10::kCPU);
  at::Tensor keys, first_query, first_key;
  int64_t most_queries = 0, most_keys = 0;

  bool is_of(c10::ArrayRef<ct_segment> others, c10::Device place) const {
    return place == device && others.size() == segments.size() &&
      std::memcmp(others.data(), segments.data(), others.size() * sizeof(ct_segment)) == 0;
  }

  Layout() = default;
  Layout(c10::ArrayRef<ct_segment> list, c10::Device place) : segments(list.begin(), list.end()), device(place) {
    std::vector<int64_t> places;
    std::vector<int32_t> queries{0}, starts{0};
    for (const ct_segment &s : list) {
      for (int64_t i = 0; i < s.prefix_keys; ++i) places.push_back(s.prefix + i);
      for (int64_t i = 0; i < s.keys; ++i) places.push_back(s.own + i);
      queries.push_back(static_cast<int32_t>(s.query + s.queries));
      starts.push_back(static_cast<int32_t>(places.size()));
      most_queries = std::max(most_queries, s.queries);
      most_keys = std::max(most_keys, s.prefix_keys + s.keys);
    }
    auto sent = [&](const auto &values, at::ScalarType type) {
      at::Tensor own = at::empty({static_cast<int64_t>(values.size())}, type);
      std::memcpy(own.mutable_data_ptr(), values.data(), values.size() * sizeof(values[0]));
      return own.to(place);
    };
    keys = sent(places, at::kLong);
    first_query = sent(queries, at::kInt);
    first_key = sent(starts, at::kInt);
  }
};

}  // namespace

at::Tensor accelerated_segments(
  const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &sinks,
  c10::ArrayRef<ct_segment> segments, const AttentionOptions &options) {
  const int64_t width = q.size(3);
  const bool fits = q.is_cuda() && is_half(q) && !sinks.defined() && options.softcap == 0 && width == v.size(3) &&
    width % 8 == 0 && width <= 256 && k.size(1) < std::numeric_limits<int32_t>::max() / 2;
  if (!fits) return {};
  thread_local Layout layout;
  if (!layout.is_of(segments, q.device())) layout = Layout(segments, q.device());
  auto gathered = [&](const at::Tensor &x) { return x.select(0, 0).index_select(0, layout.keys); };
  std::optional<int64_t> before, after;
  if (options.window > 0) {
    before = options.window - 1;
    after = 0;
  }
  auto found = at::_flash_attention_forward(
    q.select(0, 0), gathered(k), gathered(v), layout.first_query, layout.first_key, layout.most_queries, layout.most_keys,
    0.0, /*is_causal=*/true, /*return_debug_mask=*/false, options.scale, before, after);
  return std::get<0>(found).unsqueeze(0);
}

}  // namespace coppice
