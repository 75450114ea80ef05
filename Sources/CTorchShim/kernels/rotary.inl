// Rotary positions in the layout of halves: (a, b) → (a cos - b sin, b cos + a sin), rounded after each product
// and each sum as separate operators would; before that, where asked, the RMS norm of each head.

template <class T, bool HasNorm>
COPPICE_INLINE void rotate_head(
  const RotaryCall &call, const T *x, T *out, const T *cosine, const T *sine, float scale) {
  const int64_t half = call.width / 2;
  const T *weight = static_cast<const T *>(call.norm_weight);
  auto get = [&](int64_t i, auto piece) __attribute__((always_inline)) {
    F v = piece.get(x + i);
    if constexpr (HasNorm) v = rounded(rounded(v * scale, x) * piece.get(weight + i), x);
    return v;
  };
  each(half, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
#pragma clang fp contract(off)
    F a = get(i, piece);
    F b = get(half + i, piece);
    F first = rounded(a * piece.get(cosine + i), x) - rounded(b * piece.get(sine + i), x);
    F second = rounded(b * piece.get(cosine + call.second + i), x) + rounded(a * piece.get(sine + call.second + i), x);
    piece.put(out + i, first);
    piece.put(out + half + i, second);
  });
  if (call.width < call.channels && (HasNorm || out != x)) {
    each(call.channels - call.width, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
      piece.put(out + call.width + i, get(call.width + i, piece));
    });
  }
}

template <class T>
void rotary(const RotaryCall &call, const Block &block) {
  for (int64_t s = block.first; s < block.last; ++s) {
    const T *x = static_cast<const T *>(call.x.data) + block.b * call.x.row + s * call.x.token;
    T *out = static_cast<T *>(call.out.data) + block.b * call.out.row + s * call.out.token;
    const T *cosine = static_cast<const T *>(call.cosine) + s * call.cosine_row;
    const T *sine = static_cast<const T *>(call.sine) + s * call.cosine_row;
    if (!call.norm_weight) {
      for (int64_t n = 0; n < call.heads; ++n) {
        rotate_head<T, false>(call, x + n * call.x.head, out + n * call.out.head, cosine, sine, 1.0f);
      }
      continue;
    }
    // Roots of sixteen heads at once: one after the other they would take most of the time of short heads.
    for (int64_t first = 0; first < call.heads; first += kLanes) {
      const int64_t last = call.heads - first < kLanes ? call.heads : first + kLanes;
      alignas(64) float scales[kLanes] = {};
      for (int64_t n = first; n < last; ++n) {
        const T *head = x + n * call.x.head;
        scales[n - first] = sum_of_squares(
          call.channels, [&](int64_t i, auto piece) __attribute__((always_inline)) { return piece.get(head + i); });
      }
      const F means = load(scales) * (1.0f / static_cast<float>(call.channels)) + call.eps;
      store(scales, 1.0f / __builtin_elementwise_sqrt(means));
      for (int64_t n = first; n < last; ++n) {
        rotate_head<T, true>(call, x + n * call.x.head, out + n * call.out.head, cosine, sine, scales[n - first]);
      }
    }
  }
}
