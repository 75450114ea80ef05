// Gated activation: act(gate) × up, each rounded to the element type as separate operators would.

// Φ(v), the normal distribution, by Abramowitz and Stegun 7.1.26 (absolute error below 1e-7).
COPPICE_INLINE F normal_distribution(F v) {
  F z = magnitude(v) * 0.707106781f;
  F t = 1.0f / (1.0f + z * 0.3275911f);
  F p = (F)1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  F tail = p * t * exp(-(z * z)) * 0.5f;
  return v < 0.0f ? tail : 1.0f - tail;
}

template <int32_t Kind>
COPPICE_INLINE F activate(F v) {
  if constexpr (Kind == kSilu) return v / (1.0f + exp(-v));
  if constexpr (Kind == kGelu) return v * normal_distribution(v);
  if constexpr (Kind == kGeluTanh) {
    // (1 + tanh u) / 2 is the sigmoid of 2 u.
    F u = v * 1.59576912f * (1.0f + 0.044715f * v * v);
    return v / (1.0f + exp(-u));
  }
  F positive = v < 0.0f ? (F)0.0f : v;
  if constexpr (Kind == kReluSquared) return positive * positive;
  return positive;
}

template <class T, int32_t Kind, bool HasUp, bool HasTap>
COPPICE_INLINE void gate_row(const T *gate, const T *up, T *out, float *sums, int64_t channels) {
  each(channels, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
    F v = rounded(activate<Kind>(piece.get(gate + i)), gate);
    if constexpr (HasUp) v = rounded(v * piece.get(up + i), gate);
    piece.put(out + i, v);
    if constexpr (HasTap) piece.put(sums + i, piece.get(sums + i) + magnitude(v));
  });
}

template <class T, int32_t Kind>
void gate(const GateCall &call, const Block &block) {
  for (int64_t s = block.first; s < block.last; ++s) {
    const T *gate = static_cast<const T *>(call.gate.data) + block.b * call.gate.row + s * call.gate.token;
    const T *up = static_cast<const T *>(call.up.data);
    if (up) up += block.b * call.up.row + s * call.up.token;
    T *out = static_cast<T *>(call.out.data) + block.b * call.out.row + s * call.out.token;
    bool tap = s < block.valid;
    if (up && tap) {
      gate_row<T, Kind, true, true>(gate, up, out, block.sums, call.channels);
    } else if (up) {
      gate_row<T, Kind, true, false>(gate, up, out, nullptr, call.channels);
    } else if (tap) {
      gate_row<T, Kind, false, true>(gate, nullptr, out, block.sums, call.channels);
    } else {
      gate_row<T, Kind, false, false>(gate, nullptr, out, nullptr, call.channels);
    }
  }
}
