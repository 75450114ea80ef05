// The keys and values that a block of queries sees, packed; and the buffers of one block of rows.
struct Packed {
  const float *keys;    // [first key …, steps]
  const float *values;  // [first key / depth …, value width, up to a tile]
  int64_t first, end, steps, value_width;
  float *queries;  // [steps, rows]
  float *scores;   // [kKeys, rows]
  float *result;   // [value width, rows]
};

// Rows `row` … of a group, up to Vectors × 16 and below `end`.
template <class T, class Cells, int Vectors>
void attend(
  const AttentionCall &call, const Packed &packed, int64_t b, int64_t group, int64_t row, int64_t end) {
  constexpr int64_t kRows = Vectors * kLanes;
  const int64_t heads = call.heads / call.groups;  // of the group
  const int64_t offset = call.keys - call.queries;
  const int64_t rows = end - row < kRows ? end - row : kRows;
  const int64_t first_position = row / heads + offset;
  const int64_t last_position = (row + rows - 1) / heads + offset;
  auto element = [&](const Heads &x, int64_t r) __attribute__((always_inline)) {
    return static_cast<T *>(x.data) + b * x.row + r / heads * x.token + (group * heads + r % heads) * x.head;
  };

  // Queries, transposed sixteen rows and sixteen cells at a time.
  const int64_t width = packed.steps;
  alignas(64) float position[kRows];
  for (int64_t from = 0; from < kRows; from += kLanes) {
    alignas(64) float lines[kLanes][kLanes];
    for (int64_t i = 0; i < kLanes; ++i) position[from + i] = static_cast<float>((row + from + i) / heads + offset);
    for (int64_t cell = 0; cell < width; cell += kLanes) {
      F block[kLanes];
      const int64_t channel = cell * Cells::kDepth;
      const int64_t count = call.width - channel < kLanes * Cells::kDepth ? call.width - channel : kLanes * Cells::kDepth;
      for (int64_t i = 0; i < kLanes; ++i) {
        __builtin_memset(lines[i], 0, sizeof lines[i]);
        if (from + i < rows) Cells::pack_row(element(call.q, row + from + i) + channel, lines[i], count);
        block[i] = load(lines[i]);
      }
      transpose(block);
      for (int64_t i = 0; i < kLanes && cell + i < width; ++i) {
        store(packed.queries + (cell + i) * kRows + from, block[i]);
      }
    }
  }

  F maxima[Vectors], sums[Vectors], corrections[Vectors];
  for (int n = 0; n < Vectors; ++n) {
    maxima[n] = (F)-__builtin_inff();
    sums[n] = (F)0.0f;
  }
  __builtin_memset(packed.result, 0, static_cast<unsigned long>(packed.value_width * kRows) * sizeof(float));

  const int64_t last_key = call.causal ? last_position + 1 : call.keys;
  int64_t key = call.window > 0 && first_position >= call.window ? first_position - call.window + 1 : 0;
  // Blocks begin at multiples of their size whatever the rows: results do not depend on how rows are grouped.
  for (key = key / kKeys * kKeys; key < last_key; key += kKeys) {
    const int64_t count = last_key - key < kKeys ? last_key - key : kKeys;
    const bool masked = (call.causal && key + count - 1 > first_position) ||
      (call.window > 0 && key <= last_position - call.window);
    for (int64_t j = 0; j < count; j += kTile) {
      multiply_rows<Cells, Vectors, false>(
        packed.keys + (key - packed.first + j) * packed.steps, packed.steps, 1, packed.queries,
        packed.scores + j * kRows, packed.steps, corrections);
    }
    weigh<Cells, Vectors>(call, packed.scores, key, count, masked, position, maxima, sums, corrections);
    const float *values = packed.values + (key - packed.first) / Cells::kDepth * packed.value_width;
    const int64_t steps = (count + Cells::kDepth - 1) / Cells::kDepth;
    for (int64_t d = 0; d < packed.value_width; d += kTile) {
      multiply_rows<Cells, Vectors, true>(
        values + d, 1, packed.value_width, packed.scores, packed.result + d * kRows, steps, corrections);
    }
  }

  for (int n = 0; n < Vectors; ++n) {
    const int64_t from = n * kLanes;
    F scale = (F)1.0f;
    if (call.sinks) {
      alignas(64) float sink[kLanes];
      for (int64_t i = 0; i < kLanes; ++i) sink[i] = call.sinks[group * heads + (row + from + i) % heads];
      scale = join_sink(load(sink), maxima[n], sums[n]);
    }
    scale /= sums[n];
    for (int64_t d = 0; d < call.value_width; d += kLanes) {
      F block[kLanes];
      for (int64_t i = 0; i < kLanes; ++i) {
        block[i] = d + i < packed.value_width ? load(packed.result + (d + i) * kRows + from) * scale : (F)0.0f;
      }
      transpose(block);
      for (int64_t i = 0; i < kLanes && from + i < rows; ++i) {
        T *out = element(call.out, row + from + i) + d;
        if (call.value_width - d < kLanes) {
          store(out, block[i], call.value_width - d);
        } else {
          store(out, block[i]);
        }
      }
    }
    if (!call.lse) continue;
    for (int64_t i = 0; i < kLanes && from + i < rows; ++i) {
      const int64_t r = row + from + i;
      call.lse[(b * call.queries + r / heads) * call.heads + group * heads + r % heads] =
        maxima[n][i] * 0.693147181f + __builtin_logf(sums[n][i]);
    }
  }
}
