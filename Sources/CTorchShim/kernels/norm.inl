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

// One row. As LlamaRMSNorm of transformers rounds: to the element type before the weight and behind it. Wide, as
// Gemma and OLMo 2 do: in float32 by weight + offset, rounded once.
template <class T, bool HasTap, class Value>
COPPICE_INLINE void put_row(T *out, float *sums, int64_t channels, Value value) {
  each(channels, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
    F v = rounded(value(i, piece), out);
    piece.put(out + i, v);
    if constexpr (HasTap) piece.put(sums + i, piece.get(sums + i) + magnitude(v));
  });
}

template <class T, bool HasTap>
COPPICE_INLINE void scale_row(const NormCall &call, const T *x, T *out, float *sums, float scale) {
  const T *weight = static_cast<const T *>(call.weight);
  if (!weight) {
    put_row<T, HasTap>(out, sums, call.channels, [&](int64_t i, auto piece) __attribute__((always_inline)) {
      return piece.get(x + i) * scale;
    });
  } else if (call.wide) {
    put_row<T, HasTap>(out, sums, call.channels, [&](int64_t i, auto piece) __attribute__((always_inline)) {
      return piece.get(x + i) * scale * (piece.get(weight + i) + call.offset);
    });
  } else {
    put_row<T, HasTap>(out, sums, call.channels, [&](int64_t i, auto piece) __attribute__((always_inline)) {
      return rounded(piece.get(x + i) * scale, x) * piece.get(weight + i);
    });
  }
}

template <class T>
void norm(const NormCall &call, const Block &block) {
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
    if (s < block.valid) {
      scale_row<T, true>(call, x, out, block.sums, scale);
    } else {
      scale_row<T, false>(call, x, out, nullptr, scale);
    }
  }
}
