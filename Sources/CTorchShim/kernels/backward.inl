// The way back through norms and gates: gradients by the element type's inputs, everything between in float32.

// y = x r w with r = 1 / √(mean x² + eps): dx = r (dy w - x r² mean(dy w x)), and dw, summed over tokens, is dy x r.
template <class T>
void norm_backward(const NormBackwardCall &call, const Block &block) {
  const T *weight = static_cast<const T *>(call.weight);
  const int64_t channels = call.channels;
  auto at = [&](const Tokens &t, int64_t s) __attribute__((always_inline)) {
    return static_cast<T *>(t.data) + block.b * t.row + s * t.token;
  };
  auto scaled = [&](const T *dy, int64_t i, auto piece) __attribute__((always_inline)) {
    F g = piece.get(dy + i);
    return weight ? g * (piece.get(weight + i) + call.offset) : g;
  };
  for (int64_t s = block.first; s < block.last; ++s) {
    const T *x = at(call.x, s);
    const T *dy = at(call.dy, s);
    T *dx = at(call.dx, s);
    const float r = call.rstd[block.b * call.tokens + s];
    F sums[4] = {(F)0.0f, (F)0.0f, (F)0.0f, (F)0.0f};
    each(channels, [&](int64_t i, auto piece, int u) __attribute__((always_inline)) {
      sums[u] += scaled(dy, i, piece) * piece.get(x + i);
    });
    const float mean = total((sums[0] + sums[1]) + (sums[2] + sums[3])) / static_cast<float>(channels);
    const float back = r * r * mean;
    each(channels, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
      F v = piece.get(x + i);
      F g = piece.get(dy + i);
      if (block.sums) piece.put(block.sums + i, piece.get(block.sums + i) + g * v * r);
      piece.put(dx + i, (scaled(dy, i, piece) - v * back) * r);
    });
  }
}

// act(v) and its derivative.
template <int32_t Kind>
COPPICE_INLINE F activate(F v, F &slope) {
  if constexpr (Kind == kSilu) {
    F share = 1.0f / (1.0f + exp(-v));
    slope = share * (1.0f + v * (1.0f - share));
    return v * share;
  }
  if constexpr (Kind == kGelu) {
    F below = normal_distribution(v);
    slope = below + v * 0.398942280f * exp(v * v * -0.5f);
    return v * below;
  }
  if constexpr (Kind == kGeluTanh) {
    F share = 1.0f / (1.0f + exp(v * -1.59576912f * (1.0f + 0.044715f * v * v)));
    slope = share + v * share * (1.0f - share) * 1.59576912f * (1.0f + 0.134145f * v * v);
    return v * share;
  }
  F positive = v < 0.0f ? (F)0.0f : v;
  if constexpr (Kind == kReluSquared) {
    slope = positive * 2.0f;
    return positive * positive;
  }
  slope = v > 0.0f ? (F)1.0f : (F)0.0f;
  return positive;
}

template <class T, int32_t Kind>
void gate_backward(const GateBackwardCall &call, const Block &block) {
  auto at = [&](const Tokens &t, int64_t s) __attribute__((always_inline)) {
    return t.data ? static_cast<T *>(t.data) + block.b * t.row + s * t.token : nullptr;
  };
  for (int64_t s = block.first; s < block.last; ++s) {
    const T *gate = at(call.gate, s);
    const T *up = at(call.up, s);
    const T *dy = at(call.dy, s);
    T *dgate = at(call.dgate, s);
    T *dup = at(call.dup, s);
    each(call.channels, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
      F slope;
      F active = activate<Kind>(piece.get(gate + i), slope);
      F g = piece.get(dy + i);
      if (up) {
        F other = piece.get(up + i);
        piece.put(dup + i, g * active);
        g = g * other;
      }
      piece.put(dgate + i, g * slope);
    });
  }
}
