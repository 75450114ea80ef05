// What calibration measures: sums over tokens, and cosines between a layer's input and output.

// |x| summed over the valid tokens of a block, four tokens at a time: their sums are added up in registers.
template <class T>
void columns(const ColumnCall &call, const Block &block) {
  const T *x = static_cast<const T *>(call.x.data) + block.b * call.x.row;
  const int64_t last = block.last < block.valid ? block.last : block.valid;
  const int64_t step = call.x.token;
  float *sums = block.sums;
  int64_t s = block.first;
  for (; s + 4 <= last; s += 4) {
    const T *p = x + s * step;
    each(call.channels, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
      F four = (magnitude(piece.get(p + i)) + magnitude(piece.get(p + step + i))) +
        (magnitude(piece.get(p + 2 * step + i)) + magnitude(piece.get(p + 3 * step + i)));
      piece.put(sums + i, piece.get(sums + i) + four);
    });
  }
  for (; s < last; ++s) {
    const T *p = x + s * step;
    each(call.channels, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
      piece.put(sums + i, piece.get(sums + i) + magnitude(piece.get(p + i)));
    });
  }
}

template <class T>
void cosine(const CosineCall &call, const Block &block) {
  for (int64_t s = block.first; s < block.last; ++s) {
    const T *a = static_cast<const T *>(call.a.data) + block.b * call.a.row + s * call.a.token;
    const T *b = static_cast<const T *>(call.b.data) + block.b * call.b.row + s * call.b.token;
    F dot[4] = {(F)0.0f, (F)0.0f, (F)0.0f, (F)0.0f};
    F aa[4] = {(F)0.0f, (F)0.0f, (F)0.0f, (F)0.0f};
    F bb[4] = {(F)0.0f, (F)0.0f, (F)0.0f, (F)0.0f};
    each(call.channels, [&](int64_t i, auto piece, int u) __attribute__((always_inline)) {
      F p = piece.get(a + i);
      F q = piece.get(b + i);
      dot[u] += p * q;
      aa[u] += p * p;
      bb[u] += q * q;
    });
    float norm_a = __builtin_sqrtf(total((aa[0] + aa[1]) + (aa[2] + aa[3])));
    float norm_b = __builtin_sqrtf(total((bb[0] + bb[1]) + (bb[2] + bb[3])));
    // Written so that NaN goes through.
    norm_a = norm_a < call.eps ? call.eps : norm_a;
    norm_b = norm_b < call.eps ? call.eps : norm_b;
    call.out[block.b * call.tokens + s] = total((dot[0] + dot[1]) + (dot[2] + dot[3])) / norm_a / norm_b;
  }
}
