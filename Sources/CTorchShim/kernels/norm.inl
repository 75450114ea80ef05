// RMS norm of the last axis, with the residual sum before it.

// Sum of squares of what `value(i, piece)` gives; four independent sums keep the adders busy.
template <class Value>
COPPICE_INLINE float sum_of_squares(int64_t channels, Value value) {
  F sums[4] = {(F)0.0f, (F)0.0f, (F)0.0f, (F)0.0f};
  each(channels, [&](int64_t i, auto piece, int u) __attribute__((always_inline)) {
    F v = value(i, piece);
    sums[u] += v * v;
  });
  return total((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

COPPICE_INLINE float reciprocal_root(float sum, int64_t channels, float eps) {
  return 1.0f / __builtin_sqrtf(sum / static_cast<float>(channels) + eps);
}

// One row, as LlamaRMSNorm of transformers rounds: to the element type before the weight and after it.
template <class T, bool HasWeight, bool HasTap>
COPPICE_INLINE void scale_row(const T *x, const T *weight, T *out, float *sums, int64_t channels, float scale) {
  each(channels, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
    F v = rounded(piece.get(x + i) * scale, x);
    if constexpr (HasWeight) v = rounded(v * piece.get(weight + i), x);
    piece.put(out + i, v);
    if constexpr (HasTap) piece.put(sums + i, piece.get(sums + i) + magnitude(v));
  });
}

template <class T>
void norm(const NormCall &call, const Block &block) {
  const T *weight = static_cast<const T *>(call.weight);
  const int64_t channels = call.channels;
  for (int64_t s = block.first; s < block.last; ++s) {
    const T *x = static_cast<const T *>(call.x.data) + block.b * call.x.row + s * call.x.token;
    T *out = static_cast<T *>(call.out.data) + block.b * call.out.row + s * call.out.token;
    float squares;
    if (call.residual.data) {
      const T *y = static_cast<const T *>(call.residual.data) + block.b * call.residual.row + s * call.residual.token;
      T *sum = static_cast<T *>(call.sum.data) + block.b * call.sum.row + s * call.sum.token;
      squares = sum_of_squares(channels, [&](int64_t i, auto piece) __attribute__((always_inline)) {
        F v = rounded(piece.get(x + i) + piece.get(y + i), x);
        piece.put(sum + i, v);
        return v;
      });
      x = sum;
    } else {
      squares = sum_of_squares(
        channels, [&](int64_t i, auto piece) __attribute__((always_inline)) { return piece.get(x + i); });
    }
    float scale = reciprocal_root(squares, channels, call.eps);
    if (call.rstd) call.rstd[block.b * call.tokens + s] = scale;
    bool tap = s < block.valid;
    if (weight && tap) {
      scale_row<T, true, true>(x, weight, out, block.sums, channels, scale);
    } else if (weight) {
      scale_row<T, true, false>(x, weight, out, nullptr, channels, scale);
    } else if (tap) {
      scale_row<T, false, true>(x, nullptr, out, block.sums, channels, scale);
    } else {
      scale_row<T, false, false>(x, nullptr, out, nullptr, channels, scale);
    }
  }
}
