// Softmax over a vocabulary that comes in stretches: the sums that it divides by, and what a loss of it changes by per logit.

COPPICE_INLINE float largest(F v) {
  float m = v[0];
  for (int i = 1; i < kLanes; ++i) m = v[i] > m ? v[i] : m;
  return m;
}

// scale · logit, minus infinity for what has no part and after the last.
template <class T, class Piece>
COPPICE_INLINE F scores(const T *logits, const T *choice, int64_t i, Piece piece, float scale, float least) {
  const F none = (F)-__builtin_inff();
  F v = piece.get(logits + i) * scale;
  if (choice) v = piece.get(choice + i) >= least ? v : none;
  if constexpr (requires { piece.n; }) {
    float lanes[kLanes];
    store(lanes, v);
    for (int64_t k = piece.n; k < kLanes; ++k) lanes[k] = -__builtin_inff();
    v = load(lanes);
  }
  return v;
}

template <class T>
void log_sums(const LogSumCall &call, int64_t first, int64_t last) {
  for (int64_t s = first; s < last; ++s) {
    const T *logits = static_cast<const T *>(call.logits.data) + s * call.logits.token;
    const T *choice = static_cast<const T *>(call.choice.data);
    if (choice) choice += s * call.choice.token;
    const float least = choice ? call.least[s] : 0.0f;
    F highest[4] = {(F)-__builtin_inff(), (F)-__builtin_inff(), (F)-__builtin_inff(), (F)-__builtin_inff()};
    each(call.channels, [&](int64_t i, auto piece, int u) __attribute__((always_inline)) {
      F v = scores(logits, choice, i, piece, call.scale, least);
      highest[u] = v > highest[u] ? v : highest[u];
    });
    for (int u = 1; u < 4; ++u) highest[0] = highest[u] > highest[0] ? highest[u] : highest[0];
    const float base = largest(highest[0]);
    if (base == -__builtin_inff()) {
      call.out[s] = base;
      continue;
    }
    // The second time the row comes from the nearest cache.
    F sums[4] = {};
    each(call.channels, [&](int64_t i, auto piece, int u) __attribute__((always_inline)) {
      F v = scores(logits, choice, i, piece, call.scale, least);
      // exp is bounded below: what has no part must add nothing at all.
      sums[u] += v == -__builtin_inff() ? (F)0.0f : exp(v - base);
    });
    call.out[s] = base + __builtin_logf(total((sums[0] + sums[1]) + (sums[2] + sums[3])));
  }
}

template <class T>
void slopes(const SlopeCall &call, int64_t first, int64_t last) {
  for (int64_t s = first; s < last; ++s) {
    const T *logits = static_cast<const T *>(call.logits.data) + s * call.logits.token;
    const T *teacher = static_cast<const T *>(call.teacher.data);
    if (teacher) teacher += s * call.teacher.token;
    T *slope = static_cast<T *>(call.slope.data);
    if (slope) slope += s * call.slope.token;
    const float weight = call.weights[s], plain = call.plain[s];
    const float soft = teacher ? call.soft[s] : 0.0f, teacher_soft = teacher ? call.teacher_soft[s] : 0.0f;
    const float least = call.least ? call.least[s] : -__builtin_inff();
    const float divergence = weight * call.divergence, text = weight * call.cross_entropy;
    // With nothing left out and unscaled, p and q are the same.
    const bool same = teacher && !call.least && call.scale == 1.0f;
    const bool reads_text = call.cross_entropy != 0.0f && !same;
    F gaps[4] = {};
    const auto change = [&](F v, F t, F *gap) __attribute__((always_inline)) {
      F result = (F)0.0f;
      if (teacher) {
        F log_theirs = t * call.scale - teacher_soft, log_ours = v * call.scale - soft;
        F theirs = exp(log_theirs), ours = exp(log_ours);
        F difference = theirs * (log_theirs - log_ours);
        if (call.least) {
          theirs = t >= least ? theirs : (F)0.0f;
          ours = t >= least ? ours : (F)0.0f;
          difference = t >= least ? difference : (F)0.0f;
        }
        *gap = difference;
        result = (ours - theirs) * divergence;
        if (same) result += ours * text;
      }
      if (reads_text) result += exp(v - plain) * text;
      return result;
    };
    each(call.channels, [&](int64_t i, auto piece, int u) __attribute__((always_inline)) {
      F gap = (F)0.0f;
      F v = change(piece.get(logits + i), teacher ? piece.get(teacher + i) : (F)0.0f, &gap);
      if constexpr (requires { piece.n; }) {
        // Lanes after the last hold nothing.
        for (int64_t k = piece.n; k < kLanes; ++k) gap[k] = 0.0f;
      }
      gaps[u] += gap;
      if (slope) piece.put(slope + i, v);
    });
    if (call.gaps) call.gaps[s] = total((gaps[0] + gaps[1]) + (gaps[2] + gaps[3]));
    // The target's share is taken off before anything is rounded.
    const int64_t target = call.targets[s];
    if (slope && call.cross_entropy != 0.0f && target >= 0 && target < call.channels) {
      F gap = (F)0.0f;
      F v = change(Part{1}.get(logits + target), teacher ? Part{1}.get(teacher + target) : (F)0.0f, &gap);
      Part{1}.put(slope + target, v - text);
    }
  }
}
