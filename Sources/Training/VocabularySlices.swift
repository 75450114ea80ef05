import Models
package import Torch

// Shapes: M tokens, H hidden, V vocabulary, R rows of a slice of it.

/// Makes logits of states, for a stretch of the vocabulary at a time.
package protocol SlicedHead {
  /// V.
  var vocabulary: Int { get }
  /// `[M, H]` → `[M, R]`, in the type computed with.
  func products(_ states: Tensor, _ rows: Range<Int>) throws -> Tensor
  /// Logits of such products: in float32, or these themselves where they are the logits.
  func logits(of products: Tensor, _ rows: Range<Int>) throws -> Tensor
}

/// Some tokens' logits of some rows of the vocabulary.
package struct LogitBlock {
  package let tokens: Range<Int>
  package let rows: Range<Int>
  /// The student's, `[M, R]`.
  package let logits: Tensor
}

/// How tokens × vocabulary are taken apart.
package struct VocabularySlices: Sendable {
  /// Rows of the vocabulary at a time. Fewer make small products, more need more memory.
  private let slice: Int
  /// Bytes of logits that are kept for the second time, and the fewest tokens at a time whatever they take: gradients of the
  /// head are read and written for each such group.
  private let keptBytes: Int, leastTokens: Int

  package init(slice: Int = 4096, keptBytes: Int = 256 << 20, leastTokens: Int = 128) {
    (self.slice, self.keptBytes, self.leastTokens) = (slice, keptBytes, leastTokens)
  }

  /// What suits a device: accelerators want large products, and have the memory for them.
  init(for device: Device) {
    if device == .cpu { self.init() } else { self.init(slice: 32_768, keptBytes: 4 << 30) }
  }

  /// Rows of the vocabulary that are taken one after the other.
  func rows(of vocabulary: Int) -> [Range<Int>] {
    stride(from: 0, to: vocabulary, by: slice).map { $0..<min($0 + slice, vocabulary) }
  }

  /// Tokens that are taken one after the other.
  ///
  /// - Parameter bytes: of a token's logits.
  func groups(of tokens: Int, bytes: Int) -> [Range<Int>] {
    let most = max(keptBytes / bytes, leastTokens)
    let groups = (tokens + most - 1) / most
    return (0..<groups).map { tokens * $0 / groups..<tokens * ($0 + 1) / groups }
  }
}

/// One model's logits of some tokens, which are computed once.
struct SlicedLogits {
  private let head: any SlicedHead
  private let states: Tensor
  /// Products by the first row of their slice: half the memory of logits where they are bfloat16.
  private var kept: [Int: Tensor] = [:]

  init(_ states: Tensor, _ head: any SlicedHead) { (self.states, self.head) = (states, head) }

  /// V.
  var vocabulary: Int { head.vocabulary }

  mutating func logits(_ rows: Range<Int>) throws -> Tensor {
    let products = try kept[rows.lowerBound] ?? head.products(states, rows)
    kept[rows.lowerBound] = products
    return try head.logits(of: products, rows)
  }

  /// The same when nobody asks for them again.
  mutating func last(_ rows: Range<Int>) throws -> Tensor {
    defer { kept[rows.lowerBound] = nil }
    return try logits(rows)
  }

  /// Each token's largest logits, the largest first, and whose they are: `[M, count]`, the latter int64. Fewer where the vocabulary
  /// has fewer.
  mutating func largest(_ count: Int, _ slices: [Range<Int>]) throws -> (logits: Tensor, ids: Tensor)? {
    var top: (logits: Tensor, ids: Tensor)?
    for rows in slices {
      let found = try logits(rows).topK(min(count, rows.count), dim: 1)
      let ids = try found.indices.adding(Double(rows.lowerBound))
      guard let sofar = top else {
        top = (found.values, ids)
        continue
      }
      let (both, all) = try (Tensor.cat([sofar.logits, found.values], dim: 1), Tensor.cat([sofar.ids, ids], dim: 1))
      let best = try both.topK(min(count, both.shape[1]), dim: 1)
      top = (best.values, try all.gather(dim: 1, index: best.indices))
    }
    return top
  }

  /// The least of each token's largest logits, `[M]` float32.
  mutating func least(ofTop count: Int, _ slices: [Range<Int>]) throws -> Tensor? {
    try largest(count, slices)?.logits.amin(dims: [1]).to(.float32)
  }

  /// Of slices' sums that of all of them, `[M]`.
  static func joined(_ sums: [Tensor]) throws -> Tensor { try Tensor.stack(sums, dim: 0).logSumExp(dims: [0]) }
}

/// Where tokens of the vocabulary stand in a slice of it, as far as they do.
struct SlicePlaces {
  private let isInside: Tensor
  /// Within the slice, wherever they are.
  private let places: Tensor

  /// Of the ids.
  var shape: [Int] { places.shape }

  /// - Parameter ids: of each token one, `[M]` int64, or several, `[M, K]`.
  init(_ ids: Tensor, _ rows: Range<Int>) throws {
    let index = try ids.subtracting(Double(rows.lowerBound))
    isInside = try index.ge(0).logicalAnd(index.lt(Double(rows.count)))
    places = try index.clamp(min: 0, max: Double(rows.count - 1))
  }

  /// Their logits, zero of those outside: of the shape of the ids, float32.
  ///
  /// - Parameter logits: of the slice, `[M, R]`.
  func picked(of logits: Tensor) throws -> Tensor {
    let index = try places.reshape([logits.shape[0], -1])
    let found = try logits.gather(dim: 1, index: index).reshape(places.shape).to(.float32)
    return try Tensor.where(isInside, found, .zeros(found.shape, dtype: .float32, device: found.device))
  }

  /// The slice, to which numbers are added where the ids stand.
  ///
  /// - Parameters:
  ///   - values: `[M, K]` float32.
  ///   - slice: `[M, R]`.
  func adding(_ values: Tensor, to slice: Tensor) throws -> Tensor {
    let own = try Tensor.where(isInside, values, .zeros(values.shape, dtype: .float32, device: values.device))
    return try slice.scatterAdd(dim: 1, index: places, source: own.to(slice.dtype))
  }
}

extension Tensor {
  /// A stretch of a dimension.
  func narrow(dim: Int, _ range: Range<Int>) throws -> Tensor {
    try narrow(dim: dim, start: range.lowerBound, length: range.count)
  }
}
