// The running softmax of attention, in powers of two: scores are scaled by log2 e too.

// tanh by e^2v, with the absolute error of float32.
COPPICE_INLINE F hyperbolic_tangent(F v) { return 1.0f - 2.0f / (exp(v * 2.0f) + 1.0f); }

// Scores [count, rows] of the keys from `key` on become weights 2^(score - maximum) in cells; `maxima`, `sums` and the
// corrections of what was summed under the old maxima follow.
template <class Cells, int Vectors>
COPPICE_INLINE void weigh(
  const AttentionCall &call, float *scores, int64_t key, int64_t count, bool masked, const float *position,
  F *maxima, F *sums, F *corrections) {
  constexpr int64_t kRows = Vectors * kLanes;
  constexpr float kLog2E = 1.44269504f;
  const float factor = call.softcap > 0.0f ? kLog2E : call.scale * kLog2E;
  F highest[Vectors];
  for (int n = 0; n < Vectors; ++n) highest[n] = (F)-__builtin_inff();
  // Keys that all rows see are not looked at one by one: with a window or a cap there are none.
  int64_t plain = masked ? 0 : count;
  if (call.softcap > 0.0f) plain = 0;
  if (masked && call.softcap <= 0.0f && call.window == 0) {
    plain = static_cast<int64_t>(position[0]) + 1 - key;
    plain = plain < 0 ? 0 : plain > count ? count : plain;
  }
  for (int64_t j = 0; j < plain; ++j) {
    for (int n = 0; n < Vectors; ++n) {
      F v = load(scores + j * kRows + n * kLanes);
      highest[n] = v > highest[n] ? v : highest[n];
    }
  }
  if (plain < count) {
    const float least = call.causal ? 0.0f : -__builtin_inff();
    const float reach = call.window > 0 ? static_cast<float>(call.window) : __builtin_inff();
    for (int64_t j = plain; j < count; ++j) {
      const float at = static_cast<float>(key + j);
      for (int n = 0; n < Vectors; ++n) {
        float *place = scores + j * kRows + n * kLanes;
        F v = load(place);
        if (call.softcap > 0.0f) v = call.softcap * hyperbolic_tangent(v * (call.scale / call.softcap));
        if (masked) {
          // How far the key lies back; whole numbers that float32 holds exactly.
          F back = load(position + n * kLanes) - at;
          v = ((back < least) | (back >= reach)) ? (F)-__builtin_inff() : v;
        }
        store(place, v);
        highest[n] = v > highest[n] ? v : highest[n];
      }
    }
  }
  F base[Vectors];
  for (int n = 0; n < Vectors; ++n) {
    F maximum = highest[n] * factor;
    maximum = maximum > maxima[n] ? maximum : maxima[n];
    // Rows that have seen no key yet have no maximum.
    base[n] = maximum == -__builtin_inff() ? (F)0.0f : maximum;
    corrections[n] = exp2(maxima[n] - base[n]);
    maxima[n] = maximum;
    sums[n] *= corrections[n];
  }
  for (int64_t j = 0; j < count; j += Cells::kDepth) {
    for (int n = 0; n < Vectors; ++n) {
      const float *place = scores + j * kRows + n * kLanes;
      F first = exp2(load(place) * factor - base[n]);
      F second = (F)0.0f;
      if (Cells::kDepth == 2 && j + 1 < count) second = exp2(load(place + kRows) * factor - base[n]);
      sums[n] += first + second;
      store(scores + j / Cells::kDepth * kRows + n * kLanes, Cells::cells(first, second));
    }
  }
}

// One more score takes part in the sums; the factor on what was added up under the old maxima.
COPPICE_INLINE F join_sink(F sink, F &maxima, F &sums) {
  sink *= 1.44269504f;
  F highest = sink > maxima ? sink : maxima;
  F correction = exp2(maxima - highest);
  sums = sums * correction + exp2(sink - highest);
  maxima = highest;
  return correction;
}
