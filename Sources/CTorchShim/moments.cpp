// Sums over tokens of products of channels.

#include "kernels/parallel.hpp"
#include "products.hpp"

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>

namespace coppice {
namespace {

namespace blas = at::native::cpublas;

// Results that one thread has at a time, and tokens that are multiplied at once: what a product reads then fits the caches.
constexpr int64_t kTile = 64, kDepth = 256;
// Tokens are filled up with zeros to a multiple of this: the units take them in pairs, or in thirty-twos.
constexpr int64_t kFew = 32;
// Tokens that are put into order at a time, which bounds the memory for that.
constexpr int64_t kTokens = 4096;
// Results of a thread where libtorch multiplies.
constexpr int64_t kWideTile = 512;

int64_t over(int64_t count, int64_t size) { return (count + size - 1) / size; }

// oneDNN's small products: A [kTile, depth] · B [depth, kTile] into float32 sums. Of bfloat16, B has pairs of tokens side by side.
template <typename T>
void multiply(int64_t depth, bool adds, const T *a, const T *b, float *sums) {
  blas::brgemm(kTile, kTile, depth, depth, kTile, kTile, adds, a, b, sums, sizeof(T) == 2);
}

// Whether libtorch has them for this processor: it says so by throwing.
template <typename T>
bool multiplies() {
  static const bool does = [] {
    try {
      alignas(64) static T zeros[kTile * kFew] = {};
      alignas(64) static float sums[kTile * kTile];
      multiply(kFew, false, zeros, zeros, sums);
      blas::brgemm_release(sizeof(T) == 2);
      return true;
    } catch (const std::exception &) {
      return false;
    }
  }();
  return does;
}

struct Columns {
  const at::Tensor &tensor;
  int64_t blocks() const { return over(tensor.size(1), kTile); }
  template <typename T>
  const T *row(int64_t token) const { return static_cast<const T *>(tensor.const_data_ptr()) + token * tensor.stride(0); }
};

// A block of channels of some tokens, channel after channel: [channel][token].
template <typename T>
void by_channel(const Columns &x, int64_t block, int64_t token, int64_t tokens, int64_t depth, T *to) {
  constexpr int64_t kStep = 16;
  const int64_t first = block * kTile, width = std::min(kTile, x.tensor.size(1) - first);
  if (width < kTile || tokens < depth) std::memset(static_cast<void *>(to), 0, kTile * depth * sizeof(T));
  for (int64_t t = 0; t < tokens; t += kStep) {
    const int64_t end = std::min(t + kStep, tokens);
    for (int64_t i = 0; i < width; i += kStep) {
      const int64_t last = std::min(i + kStep, width);
      for (int64_t at = t; at < end; ++at) {
        const T *row = x.row<T>(token + at) + first;
        for (int64_t c = i; c < last; ++c) to[c * depth + at] = row[c];
      }
    }
  }
}

// The same token after token; of bfloat16 pairs of tokens, channel after channel.
template <typename T>
void by_token(const Columns &x, int64_t block, int64_t token, int64_t tokens, int64_t depth, T *to) {
  const int64_t first = block * kTile, width = std::min(kTile, x.tensor.size(1) - first);
  if (width < kTile || tokens < depth) std::memset(static_cast<void *>(to), 0, kTile * depth * sizeof(T));
  for (int64_t t = 0; t < tokens; ++t) {
    const T *row = x.row<T>(token + t) + first;
    if constexpr (sizeof(T) == 2) {
      T *pair = to + t / 2 * 2 * kTile + t % 2;
      for (int64_t c = 0; c < width; ++c) pair[2 * c] = row[c];
    } else {
      std::memcpy(to + t * kTile, row, width * sizeof(T));
    }
  }
}

// total [rows, columns] of a larger one += sums, each rounded by adding a number and taking it off again.
void add(const float *sums, int64_t stride, int64_t rows, int64_t columns, double rounding, double *total, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      // With a rounding of 0 the number is as it was.
      total[row * width + column] += (static_cast<double>(sums[row * stride + column]) + rounding) - rounding;
    }
  }
}

struct Sum {
  const at::Tensor &a, &b, &total;
  bool symmetric;
  double rounding;

  double *at(int64_t row, int64_t column) const {
    return static_cast<double *>(total.mutable_data_ptr()) + row * total.size(1) + column;
  }

  // Tiles, each by one thread: the numbers do not depend on how many there are.
  template <typename Task>
  void each_tile(int64_t size, int64_t work, Task task) const {
    const int64_t columns = over(b.size(1), size);
    std::exception_ptr failure;
    std::mutex lock;
    parallel(over(a.size(1), size) * columns, work, [&](int64_t number) {
      const int64_t row = number / columns, column = number % columns;
      if (symmetric && column < row) return;
      try {
        task(row, column);
      } catch (...) {
        std::lock_guard guard(lock);
        if (!failure) failure = std::current_exception();
      }
    });
    if (failure) std::rethrow_exception(failure);
  }

  void by_libtorch() const {
    each_tile(kWideTile, a.numel() + b.numel(), [&](int64_t row, int64_t column) {
      Call call;
      const int64_t rows = std::min(kWideTile, a.size(1) - row * kWideTile);
      const int64_t columns = std::min(kWideTile, b.size(1) - column * kWideTile);
      at::Tensor sums = at::mm(a.narrow(1, row * kWideTile, rows).t(), b.narrow(1, column * kWideTile, columns)).contiguous();
      add(static_cast<const float *>(sums.const_data_ptr()), columns, rows, columns, rounding, at(row * kWideTile, column * kWideTile), total.size(1));
    });
  }

  template <typename T>
  void by_tiles(int64_t token, int64_t tokens) const {
    const Columns first{a}, second{b};
    const int64_t padded = over(tokens, kFew) * kFew, steps = over(padded, kDepth);
    const int64_t rows = first.blocks(), columns = second.blocks();
    at::Tensor left = at::empty({rows * kTile * padded}, a.options()), right = at::empty({columns * kTile * padded}, a.options());
    T *lefts = static_cast<T *>(left.mutable_data_ptr()), *rights = static_cast<T *>(right.mutable_data_ptr());
    auto place = [&](int64_t block, int64_t step) { return (block * padded + step * kDepth) * kTile; };
    auto depth = [&](int64_t step) { return std::min(kDepth, padded - step * kDepth); };
    parallel((rows + columns) * steps, a.numel() + b.numel(), [&](int64_t number) {
      const int64_t block = number / steps, step = number % steps;
      const int64_t start = step * kDepth, count = std::min(kDepth, tokens - start);
      if (block < rows) {
        by_channel(first, block, token + start, count, depth(step), lefts + place(block, step));
      } else {
        by_token(second, block - rows, token + start, count, depth(step), rights + place(block - rows, step));
      }
    });
    each_tile(kTile, a.numel() + b.numel(), [&](int64_t row, int64_t column) {
      alignas(64) float sums[kTile * kTile];
      for (int64_t step = 0; step < steps; ++step) {
        multiply(depth(step), step > 0, lefts + place(row, step), rights + place(column, step), sums);
      }
      blas::brgemm_release(sizeof(T) == 2);
      const int64_t height = std::min(kTile, a.size(1) - row * kTile), width = std::min(kTile, b.size(1) - column * kTile);
      add(sums, kTile, height, width, rounding, at(row * kTile, column * kTile), total.size(1));
    });
  }

  template <typename T>
  void by_tiles() const {
    for (int64_t token = 0; token < a.size(0); token += kTokens) by_tiles<T>(token, std::min(kTokens, a.size(0) - token));
  }
};

// Rows that lie one after another, in a type that is multiplied.
at::Tensor multiplied(const at::Tensor &x, at::ScalarType type) {
  at::Tensor own = x.to(type);
  return own.size(1) == 1 || own.stride(1) == 1 ? own : own.contiguous();
}

void add_products(const at::Tensor &a, const at::Tensor &b, bool symmetric, double rounding, at::Tensor &total) {
  TORCH_CHECK(
    a.dim() == 2 && b.dim() == 2 && a.size(0) == b.size(0), "activations of shapes ", a.sizes(), " and ", b.sizes(),
    " are not of the same tokens: [T, M] and [T, N] are wanted");
  TORCH_CHECK(!symmetric || a.size(1) == b.size(1), "sums of ", a.sizes(), " and ", b.sizes(), " are not symmetric");
  TORCH_CHECK(
    total.dim() == 2 && total.size(0) == a.size(1) && total.size(1) == b.size(1) && total.scalar_type() == at::kDouble &&
      total.is_contiguous(),
    "a total of shape ", total.sizes(), " and type ", total.scalar_type(), " does not take sums of shape [", a.size(1), ", ",
    b.size(1), "] in float64");
  TORCH_CHECK(a.is_cpu() && b.is_cpu() && total.is_cpu(), "sums over tokens are added up on the CPU");
  if (a.numel() == 0 || b.numel() == 0) return;
  const bool narrow = a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16 && has_bf16_products() &&
    multiplies<at::BFloat16>();
  const at::ScalarType type = narrow ? at::kBFloat16 : at::kFloat;
  const at::Tensor first = multiplied(a, type), second = b.is_same(a) ? first : multiplied(b, type);
  const Sum sum{first, second, total, symmetric, rounding};
  if (narrow) return sum.by_tiles<at::BFloat16>();
  return multiplies<float>() ? sum.by_tiles<float>() : sum.by_libtorch();
}

// The numbers above the diagonal, below it too: by blocks that fit the caches.
void mirror_upper(at::Tensor &total) {
  TORCH_CHECK(
    total.dim() == 2 && total.size(0) == total.size(1) && total.is_cpu() && total.scalar_type() == at::kDouble &&
      total.is_contiguous(),
    "what is mirrored is [N, N] in float64 on the CPU, not ", total.sizes(), " of ", total.scalar_type());
  const int64_t size = total.size(0), blocks = over(size, kTile);
  double *values = static_cast<double *>(total.mutable_data_ptr());
  parallel(blocks, total.numel(), [&](int64_t block) {
    const int64_t end = std::min((block + 1) * kTile, size);
    for (int64_t first = 0; first < end; first += kTile) {
      for (int64_t row = block * kTile; row < end; ++row) {
        const int64_t last = std::min(first + kTile, row);
        for (int64_t column = first; column < last; ++column) values[row * size + column] = values[column * size + row];
      }
    }
  });
}

}  // namespace

void fill_moments(ct_api &api) {
  api.add_products = [](
    ct_tensor *a, ct_tensor *b, bool symmetric, double rounding, ct_tensor *total) -> ct_error
    CT_CALL(add_products(a->value, b->value, symmetric, rounding, writable(total)));
  api.mirror_upper = [](ct_tensor *total) -> ct_error CT_CALL(mirror_upper(writable(total)));
}

}  // namespace coppice
