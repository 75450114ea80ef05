// Losses over a vocabulary that comes in stretches: by the kernels where they fit, else by libtorch's operators.

#include "parallel.hpp"
#include "rows.hpp"

#include <algorithm>
#include <limits>

namespace coppice {

using namespace kernels;

namespace {

// Tokens that one task takes.
constexpr int64_t kTokens = 16;

void check_each(const char *what, const at::Tensor &x, const at::Tensor &logits, at::ScalarType type = at::kFloat) {
  TORCH_CHECK(
    x.dim() == 1 && x.size(0) == logits.size(0) && x.scalar_type() == type, what, " must be ", type, " of ", logits.size(0),
    " tokens, not ", x.scalar_type(), " of shape ", x.sizes());
}

void check_logits(const at::Tensor &logits, const at::Tensor &others) {
  TORCH_CHECK(logits.dim() == 2, "logits have the shape [tokens, vocabulary], not ", logits.sizes());
  TORCH_CHECK(
    !others.defined() || others.sizes() == logits.sizes(), "the teacher's logits have shape ", others.sizes(),
    ", the student's ", logits.sizes());
}

at::Tensor value(ct_tensor *tensor) { return tensor ? tensor->value : at::Tensor(); }

const float *floats(const at::Tensor &x) { return x.defined() ? static_cast<const float *>(x.const_data_ptr()) : nullptr; }

// Both in one type that kernels know, float32 where they differ.
std::optional<Element> common_element(at::Tensor &a, at::Tensor &b) {
  if (b.defined() && a.scalar_type() != b.scalar_type()) {
    a = a.to(at::kFloat);
    b = b.to(at::kFloat);
  }
  return plain(a) && (!b.defined() || plain(b)) ? element_of(a) : std::nullopt;
}

template <typename Work> void for_tokens(const at::Tensor &logits, Work work) {
  const int64_t tokens = logits.size(0);
  parallel((tokens + kTokens - 1) / kTokens, logits.numel(), [&](int64_t task) {
    work(task * kTokens, std::min(tokens, (task + 1) * kTokens));
  });
}

// Logits in float32 as softmax takes them, minus infinity where they have no part.
at::Tensor scores(const at::Tensor &logits, const at::Tensor &choice, const at::Tensor &least, double scale) {
  at::Tensor wide = in_float32(logits).mul(scale);
  if (!least.defined()) return wide;
  return wide.masked_fill_(in_float32(choice).lt(least.unsqueeze(1)), -std::numeric_limits<double>::infinity());
}

at::Tensor log_sums(at::Tensor logits, at::Tensor choice, at::Tensor least, double scale) {
  check_logits(logits, choice);
  TORCH_CHECK(choice.defined() == least.defined(), "a choice needs the least of each token, and the other way round");
  if (least.defined()) check_each("the least", least, logits);
  const Table *table = chosen();
  const auto element = common_element(logits, choice);
  if (!table || !element || (least.defined() && !plain(least))) return scores(logits, choice, least, scale).logsumexp(1);
  const RowShape shape(logits);
  at::Tensor out = at::empty({logits.size(0)}, at::kFloat);
  if (least.defined()) least = least.contiguous();
  const LogSumCall call{
    .logits = dense_rows(logits, shape),
    .choice = choice.defined() ? dense_rows(choice, shape) : Tokens{},
    .least = floats(least),
    .out = out.mutable_data_ptr<float>(),
    .channels = shape.channels,
    .scale = static_cast<float>(scale),
  };
  for_tokens(logits, [&](int64_t first, int64_t last) { table->log_sums[*element](call, first, last); });
  return out;
}

struct Slopes {
  at::Tensor gaps, slope;
};

Slopes slopes_by_operators(const ct_vocabulary_loss &loss, const at::Tensor &logits, const at::Tensor &teacher) {
  const at::Tensor weights = loss.weights->value.unsqueeze(1);
  Slopes found;
  at::Tensor slope;
  if (teacher.defined()) {
    const at::Tensor least = value(loss.least);
    at::Tensor ours = scores(logits, teacher, least, loss.scale).sub_(loss.soft->value.unsqueeze(1));
    at::Tensor theirs = scores(teacher, teacher, least, loss.scale).sub_(loss.teacher_soft->value.unsqueeze(1));
    at::Tensor shares = theirs.exp();
    // What has no part would be the difference of two infinities.
    at::Tensor gap = theirs.sub(ours);
    if (least.defined()) gap.masked_fill_(shares.eq(0), 0);
    found.gaps = gap.mul_(shares).sum(1);
    if (loss.wants_slope) slope = ours.exp_().sub_(shares).mul_(weights.mul(loss.divergence));
  }
  if (!loss.wants_slope) return found;
  if (loss.cross_entropy != 0) {
    const int64_t count = logits.size(1);
    const at::Tensor &targets = loss.targets->value;
    at::Tensor isInside = targets.ge(0).logical_and_(targets.lt(count)).to(at::kFloat).neg_().unsqueeze(1);
    at::Tensor text = in_float32(logits).sub(loss.plain->value.unsqueeze(1)).exp_();
    text.scatter_add_(1, targets.clamp(0, count - 1).unsqueeze(1), isInside).mul_(weights.mul(loss.cross_entropy));
    slope = slope.defined() ? slope.add_(text) : text;
  }
  found.slope = slope.defined() ? slope.to(logits.scalar_type()) : at::zeros_like(logits);
  return found;
}

Slopes slopes(const ct_vocabulary_loss &loss) {
  at::Tensor logits = loss.logits->value, teacher = value(loss.teacher);
  check_logits(logits, teacher);
  check_each("the sums", loss.plain->value, logits);
  check_each("the weights", loss.weights->value, logits);
  check_each("the targets", loss.targets->value, logits, at::kLong);
  if (teacher.defined()) {
    TORCH_CHECK(loss.soft && loss.teacher_soft, "a divergence needs both sides' sums");
    check_each("the student's sums", loss.soft->value, logits);
    check_each("the teacher's sums", loss.teacher_soft->value, logits);
    if (loss.least) check_each("the least", loss.least->value, logits);
  }
  const Table *table = chosen();
  const auto element = common_element(logits, teacher);
  if (!table || !element) return slopes_by_operators(loss, logits, teacher);
  const RowShape shape(logits);
  Slopes found;
  if (teacher.defined()) found.gaps = at::empty({logits.size(0)}, at::kFloat);
  if (loss.wants_slope) found.slope = at::empty(logits.sizes(), logits.options().memory_format(at::MemoryFormat::Contiguous));
  const auto dense = [](ct_tensor *x) { return x ? x->value.contiguous() : at::Tensor(); };
  const at::Tensor sums = dense(loss.plain), soft = dense(loss.soft), teacher_soft = dense(loss.teacher_soft),
                   least = dense(loss.least), weights = dense(loss.weights), targets = dense(loss.targets);
  const SlopeCall call{
    .logits = dense_rows(logits, shape),
    .teacher = teacher.defined() ? dense_rows(teacher, shape) : Tokens{},
    .slope = loss.wants_slope ? dense_rows(found.slope, shape) : Tokens{},
    .plain = floats(sums),
    .soft = floats(soft),
    .teacher_soft = floats(teacher_soft),
    .least = floats(least),
    .weights = floats(weights),
    .targets = static_cast<const int64_t *>(targets.const_data_ptr()),
    .gaps = teacher.defined() ? found.gaps.mutable_data_ptr<float>() : nullptr,
    .channels = shape.channels,
    .scale = static_cast<float>(loss.scale),
    .divergence = static_cast<float>(loss.divergence),
    .cross_entropy = static_cast<float>(loss.cross_entropy),
  };
  for_tokens(logits, [&](int64_t first, int64_t last) { table->slopes[*element](call, first, last); });
  return found;
}

}  // namespace

void fill_vocabulary_kernels(ct_api &api) {
  api.log_sums = [](ct_tensor *logits, ct_tensor *choice, ct_tensor *least, double scale, ct_out out) -> ct_error
    CT_CALL(*out = box(log_sums(logits->value, value(choice), value(least), scale)));
  api.vocabulary_slopes = [](const ct_vocabulary_loss *loss, ct_out gaps, ct_out slope) -> ct_error CT_CALL({
    Slopes found = slopes(*loss);
    if (found.gaps.defined()) *gaps = box(found.gaps);
    if (found.slope.defined()) *slope = box(found.slope);
  });
}

}  // namespace coppice
