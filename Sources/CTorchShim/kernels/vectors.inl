// Sixteen float32 lanes, written once with Clang's vector types: one register of AVX-512, two of AVX2, four of
// SSE or NEON. Included into one namespace for each instruction set, below its `target` attribute, so that the
// compiler may use these instructions here and nowhere else. Products and sums fuse where the target can.

#define COPPICE_INLINE inline __attribute__((always_inline))

using F = float __attribute__((ext_vector_type(16)));
using U = uint32_t __attribute__((ext_vector_type(16)));
using I = int32_t __attribute__((ext_vector_type(16)));
using W = uint16_t __attribute__((ext_vector_type(16)));
constexpr int64_t kLanes = 16;

COPPICE_INLINE F load(const float *p) {
  F v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

COPPICE_INLINE F load(const bf16 *p) {
  W v;
  __builtin_memcpy(&v, p, sizeof v);
  return (F)(__builtin_convertvector(v, U) << 16);
}

// To the nearest, ties to even; NaN stays NaN.
COPPICE_INLINE U round_bits(F v) {
  U bits = (U)v;
  U rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return (v != v) ? (bits | 0x400000) : rounded;
}

COPPICE_INLINE void store(float *p, F v) { __builtin_memcpy(p, &v, sizeof v); }

// `rounded` is what a store and a load would give.
COPPICE_INLINE F rounded(F v, const float *) { return v; }

#ifdef COPPICE_AVX512_BF16
// One instruction, which takes float32 numbers below 2^-126 for zero.
COPPICE_INLINE void store(bf16 *p, F v) {
  __m256bh bits = _mm512_cvtneps_pbh(v);
  __builtin_memcpy(p, &bits, sizeof bits);
}

COPPICE_INLINE F rounded(F v, const bf16 *) {
  return (F)(__builtin_convertvector((W)_mm512_cvtneps_pbh(v), U) << 16);
}
#else
COPPICE_INLINE void store(bf16 *p, F v) {
  W bits = __builtin_convertvector(round_bits(v) >> 16, W);
  __builtin_memcpy(p, &bits, sizeof bits);
}

COPPICE_INLINE F rounded(F v, const bf16 *) { return (F)(round_bits(v) & 0xffff0000); }
#endif

// The first `n` lanes, the others zero.
template <class T>
COPPICE_INLINE F load(const T *p, int64_t n) {
  T lanes[kLanes] = {};
  __builtin_memcpy(lanes, p, static_cast<unsigned long>(n) * sizeof(T));
  return load(lanes);
}

template <class T>
COPPICE_INLINE void store(T *p, F v, int64_t n) {
  T lanes[kLanes];
  store(lanes, v);
  __builtin_memcpy(p, lanes, static_cast<unsigned long>(n) * sizeof(T));
}

// A last piece of fewer lanes takes the slow loads; whole pieces are known to be whole when compiled.
struct Whole {
  template <class T>
  COPPICE_INLINE F get(const T *p) const { return load(p); }
  template <class T>
  COPPICE_INLINE void put(T *p, F v) const { store(p, v); }
};

struct Part {
  int64_t n;
  template <class T>
  COPPICE_INLINE F get(const T *p) const { return load(p, n); }
  template <class T>
  COPPICE_INLINE void put(T *p, F v) const { store(p, v, n); }
};

// step(i, piece, u) for each sixteen of `n` channels; `u` cycles through 0 … 3, for independent sums.
template <class Step>
COPPICE_INLINE void each(int64_t n, Step step) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    step(i, Whole{}, 0);
    step(i + kLanes, Whole{}, 1);
    step(i + 2 * kLanes, Whole{}, 2);
    step(i + 3 * kLanes, Whole{}, 3);
  }
  for (; i + kLanes <= n; i += kLanes) step(i, Whole{}, 0);
  if (i < n) step(i, Part{n - i}, 0);
}

COPPICE_INLINE F magnitude(F v) { return (F)((U)v & 0x7fffffff); }

COPPICE_INLINE float total(F v) {
  auto eight = v.lo + v.hi;
  auto four = eight.lo + eight.hi;
  auto two = four.lo + four.hi;
  return two.x + two.y;
}

// Taylor's series of 2^f to the sixth power: for |f| ≤ 1/2 the next term is below half a unit of the last place.
COPPICE_INLINE F power_of_fraction(F f) {
  F p = (F)1.54035304e-4f;
  p = p * f + 1.33335581e-3f;
  p = p * f + 9.61812911e-3f;
  p = p * f + 5.55041087e-2f;
  p = p * f + 2.40226507e-1f;
  p = p * f + 6.93147181e-1f;
  return p * f + 1.0f;
}

// 2^v and e^v within two units of the last place; 0 where float32 loses digits, infinity above its range, NaN for
// NaN.
#ifdef COPPICE_AVX512
// The bounds keep infinities out of the differences; as second operands NaNs pass them.
COPPICE_INLINE F bounded(F v, float low, float high) {
  return _mm512_min_ps(_mm512_set1_ps(high), _mm512_max_ps(_mm512_set1_ps(low), v));
}

COPPICE_INLINE F exp2(F v) {
  // Scaling takes care of what is too large; minus infinity less itself would be no number.
  v = _mm512_max_ps(_mm512_set1_ps(-160.0f), v);
  F n = _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm512_scalef_ps(power_of_fraction(v - n), n);
}

COPPICE_INLINE F exp(F v) {
  // log2 e in two parts: the first product is exact, because it fuses with the difference.
  constexpr float kHigh = 1.44269502f, kLow = 1.92596303e-8f;
  v = bounded(v, -110.0f, 90.0f);
  F n = _mm512_roundscale_ps(v * kHigh, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  F f = _mm512_fmsub_ps(v, _mm512_set1_ps(kHigh), n);
  return _mm512_scalef_ps(power_of_fraction(f + v * kLow), n);
}
#else
// p × 2^n for n from -125 to 128: infinity where it overflows. 2^128 is no float32, twice 2^127 is.
COPPICE_INLINE F times_power(F p, I n) { return p * (F)((n + 126) << 23) * 2.0f; }

// Adding 1.5 × 2^23 rounds to an integer, which stands in the low bits then.
constexpr float kRound = 12582912.0f;

// For arguments up to 127: softmax has none above zero. The integer that was rounded to stands in the low bits; moved to the
// exponent's place and added to that of a factor between 2^-1/2 and 2^1/2 they multiply it. A NaN has zeros there and stays.
COPPICE_INLINE F exp2(F v) {
  F bounded = v < -125.0f ? (F)-125.0f : v;
  F shifted = bounded + kRound;
  U result = (U)power_of_fraction(bounded - (shifted - kRound)) + ((U)shifted << 23);
  return v < -125.0f ? (F)0.0f : (F)result;
}

COPPICE_INLINE F exp(F v) {
  constexpr float kLog2E = 1.44269504f;
  // ln 2 in two parts, the first with zeros at its end: its product with an exponent is exact.
  constexpr float kHigh = 0.693359375f, kLow = -2.12194440e-4f;
  F bounded = v < -86.5f ? (F)-86.5f : v;
  bounded = bounded > 89.0f ? (F)89.0f : bounded;
  F shifted = bounded * kLog2E + kRound;
  F n = shifted - kRound;
  F rest = bounded - n * kHigh - n * kLow;
  F result = times_power(power_of_fraction(rest * kLog2E), (I)shifted - (I)(F)kRound);
  return v < -86.5f ? (F)0.0f : result;
}
#endif
