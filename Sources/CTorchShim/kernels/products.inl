// Attention that keeps its scores in the cache (Dao et al. 2022, arXiv 2205.14135; Milakov & Gimelshein 2018, arXiv
// 1805.02867 for the running maximum). Everything is transposed: lanes are queries, so that maxima, sums and
// corrections are whole registers, keys are read as they lie, and nothing is summed across lanes.
//
// All query heads of a group share their key-value head, so rows of a block are (query, head of the group)
// pairs: row r is query r / G. Scores [keys, rows] become weights in place, and the result grows as [D, rows].
//
// "Cells" are what one step of a product takes of each factor: a float32 number, or two bfloat16 numbers.

// Tiles of products: kTile cells broadcast, kTileVectors × 16 rows; their sums must fit the registers.
#ifdef COPPICE_AVX512
constexpr int kTile = 8, kTileVectors = 3;
#elif defined(COPPICE_AVX2)
constexpr int kTile = 4, kTileVectors = 1;
#else
constexpr int kTile = 2, kTileVectors = 1;
#endif
// Sixteens of rows in work at a time.
constexpr int kBlockVectors = 3;
// Keys whose scores are in work at a time.
constexpr int64_t kKeys = 96;

constexpr int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

struct Singles {
  static constexpr int64_t kDepth = 1;
  static COPPICE_INLINE F add_product(F sum, float cell, F cells) { return sum + cell * cells; }
  // Weights of keys j and, where cells are pairs, j + 1.
  static COPPICE_INLINE F cells(F first, F) { return first; }
  template <class T>
  static COPPICE_INLINE void pack_row(const T *from, float *to, int64_t channels) {
    each(channels, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
      piece.put(to + i, piece.get(from + i));
    });
  }
  template <class T>
  static COPPICE_INLINE void pack_values(const T *from, const T *, float *to, int64_t channels) {
    pack_row(from, to, channels);
  }
};

#ifdef COPPICE_AVX512_BF16
struct Pairs {
  static constexpr int64_t kDepth = 2;
  static COPPICE_INLINE F add_product(F sum, float cell, F cells) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_ps(cell), (__m512bh)cells);
  }
  static COPPICE_INLINE F cells(F first, F second) {
    U low = __builtin_convertvector((W)_mm512_cvtneps_pbh(first), U);
    U high = __builtin_convertvector((W)_mm512_cvtneps_pbh(second), U);
    return (F)(low | (high << 16));
  }
  static COPPICE_INLINE void pack_row(const bf16 *from, float *to, int64_t channels) {
    // Rows are short: a call to copy one would take longer than the copy.
    int64_t i = 0;
    for (; i + 2 * kLanes <= channels; i += 2 * kLanes) __builtin_memcpy(to + i / 2, from + i, 64);
    if (i < channels) __builtin_memcpy(to + i / 2, from + i, static_cast<unsigned long>(channels - i) * sizeof(bf16));
  }
  // Channel by channel the values of two keys.
  static COPPICE_INLINE void pack_values(const bf16 *first, const bf16 *second, float *to, int64_t channels) {
    each(channels, [&](int64_t i, auto piece, int) __attribute__((always_inline)) {
      U low = (U)piece.get(first + i) >> 16;
      U high = second ? (U)piece.get(second + i) : (U)0;
      piece.put(to + i, (F)(low | high));
    });
  }
};
#endif

// A 16 × 16 transposition: each of four passes exchanges halves at half the distance.
COPPICE_INLINE void transpose(F (&rows)[16]) {
#define COPPICE_EXCHANGE(a, b, ...)                     \
  {                                                     \
    F low = __builtin_shufflevector(a, b, __VA_ARGS__); \
    b = __builtin_shufflevector(a, b, COPPICE_SECOND);  \
    a = low;                                            \
  }
#define COPPICE_SECOND 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
  for (int i = 0; i < 8; ++i) {
    COPPICE_EXCHANGE(rows[i], rows[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
  }
#undef COPPICE_SECOND
#define COPPICE_SECOND 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
  for (int i = 0; i < 16; ++i) {
    if (i & 4) continue;
    COPPICE_EXCHANGE(rows[i], rows[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
  }
#undef COPPICE_SECOND
#define COPPICE_SECOND 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
  for (int i = 0; i < 16; ++i) {
    if (i & 2) continue;
    COPPICE_EXCHANGE(rows[i], rows[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
  }
#undef COPPICE_SECOND
#define COPPICE_SECOND 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
  for (int i = 0; i < 16; i += 2) {
    COPPICE_EXCHANGE(rows[i], rows[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30)
  }
#undef COPPICE_SECOND
#undef COPPICE_EXCHANGE
}

// out[m, rows] = Σ a[m, step] · b[step, rows], for kTile rows m of `a` and N × 16 rows of `b`. `a_step` and `a_next`
// are the strides of its steps and of m; a correction scales what `out` held, without one it held nothing.
template <class Cells, int N, bool Adds>
COPPICE_INLINE void multiply(
  const float *a, int64_t a_next, int64_t a_step, const float *b, float *out, int64_t stride, int64_t steps,
  const F *correction) {
  F sums[kTile][N];
  for (int m = 0; m < kTile; ++m) {
    for (int n = 0; n < N; ++n) {
      sums[m][n] = Adds ? load(out + m * stride + n * kLanes) * correction[n] : (F)0.0f;
    }
  }
  for (int64_t step = 0; step < steps; ++step) {
    F rows[N];
    for (int n = 0; n < N; ++n) rows[n] = load(b + step * stride + n * kLanes);
    for (int m = 0; m < kTile; ++m) {
      float cell = a[m * a_next + step * a_step];
      for (int n = 0; n < N; ++n) sums[m][n] = Cells::add_product(sums[m][n], cell, rows[n]);
    }
  }
  for (int m = 0; m < kTile; ++m) {
    for (int n = 0; n < N; ++n) store(out + m * stride + n * kLanes, sums[m][n]);
  }
}

template <class Cells, int Vectors, bool Adds>
COPPICE_INLINE void multiply_rows(
  const float *a, int64_t a_next, int64_t a_step, const float *b, float *out, int64_t steps, const F *correction) {
  constexpr int N = Vectors < kTileVectors ? Vectors : kTileVectors;
  static_assert(Vectors % N == 0);
  for (int n = 0; n < Vectors; n += N) {
    multiply<Cells, N, Adds>(
      a, a_next, a_step, b + n * kLanes, out + n * kLanes, Vectors * kLanes, steps, correction + n);
  }
}

