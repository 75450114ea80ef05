// One task of attention: the keys and values that its queries see are packed once, then the queries go block by
// block.

// Sizes of a task's buffers in cells.
template <class Cells>
struct Sizes {
  int64_t steps, value_width, keys, values, queries, scores, result;
  explicit Sizes(const AttentionCall &call) {
    constexpr int64_t kRows = kBlockVectors * kLanes;
    steps = (call.width + Cells::kDepth - 1) / Cells::kDepth;
    value_width = round_up(call.value_width, kTile);
    const int64_t count = round_up(call.keys, kKeys) + kTile;
    keys = round_up(count * steps, kLanes);
    values = round_up(count / Cells::kDepth * value_width, kLanes);
    queries = round_up(steps, kLanes) * kRows;
    scores = kKeys * kRows;
    result = round_up(value_width, kLanes) * kRows;
  }
};

template <class Cells>
int64_t scratch_bytes(const AttentionCall &call) {
  Sizes<Cells> sizes(call);
  return (sizes.keys + sizes.values + sizes.queries + sizes.scores + sizes.result) * static_cast<int64_t>(sizeof(float));
}

template <class T, class Cells>
void attention(const AttentionCall &call, const AttentionBlock &block, void *scratch) {
  Sizes<Cells> sizes(call);
  float *keys = static_cast<float *>(scratch);
  float *values = keys + sizes.keys;
  float *queries = values + sizes.values;
  const int64_t offset = call.keys - call.queries;
  int64_t first = call.window > 0 ? block.first + offset - call.window + 1 : 0;
  first = first > 0 ? first / kKeys * kKeys : 0;
  const int64_t end = call.causal ? block.last + offset : call.keys;

  auto row = [&](const Heads &own, const void *prefix, int64_t j) __attribute__((always_inline)) {
    const bool early = j < call.prefix;
    return static_cast<const T *>(early ? prefix : own.data) + block.b * own.row + block.group * own.head +
      (early ? j : j - call.prefix) * own.token;
  };
  // What lies behind the last key, up to a tile, takes part in products whose results nobody reads.
  const int64_t padded = round_up(end - first, kTile);
  for (int64_t j = 0; j < padded; ++j) {
    float *to = keys + j * sizes.steps;
    to[sizes.steps - 1] = 0.0f;
    if (first + j < end) {
      Cells::pack_row(row(call.k, call.prefix_k, first + j), to, call.width);
    } else {
      __builtin_memset(to, 0, static_cast<unsigned long>(sizes.steps) * sizeof(float));
    }
  }
  for (int64_t j = 0; first + j < end; j += Cells::kDepth) {
    float *to = values + j / Cells::kDepth * sizes.value_width;
    for (int64_t i = call.value_width; i < sizes.value_width; ++i) to[i] = 0.0f;
    const T *second = first + j + 1 < end ? row(call.v, call.prefix_v, first + j + 1) : nullptr;
    Cells::pack_values(row(call.v, call.prefix_v, first + j), second, to, call.value_width);
  }

  const Packed packed{
    .keys = keys,
    .values = values,
    .first = first,
    .end = end,
    .steps = sizes.steps,
    .value_width = sizes.value_width,
    .queries = queries,
    .scores = queries + sizes.queries,
    .result = queries + sizes.queries + sizes.scores,
  };
  const int64_t heads = call.heads / call.groups;
  const int64_t last_row = block.last * heads;
  int64_t next = block.first * heads;
  while (last_row - next > kLanes) {
    attend<T, Cells, kBlockVectors>(call, packed, block.b, block.group, next, last_row);
    next += kBlockVectors * kLanes;
  }
  if (next < last_row) attend<T, Cells, 1>(call, packed, block.b, block.group, next, last_row);
}
