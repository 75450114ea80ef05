package import Torch

/// Sums over tokens of products of two activations' channels, block by block, each block by one thread: the same numbers on any
/// number of threads.
///
/// Shapes: T tokens, M and N channels.
package struct BlockProducts {
  private let first: [Range<Int>], second: [Range<Int>]
  /// The sums are symmetric, and blocks below the diagonal are not computed.
  private let isSymmetric: Bool

  /// Of an activation with itself.
  package init(_ channels: Int) {
    first = Self.blocks(channels)
    second = first
    isSymmetric = true
  }

  package init(_ rows: Int, _ columns: Int) {
    (first, second) = (Self.blocks(rows), Self.blocks(columns))
    isSymmetric = false
  }

  /// Enough pieces for some threads, and pieces large enough for quick products.
  private static func blocks(_ channels: Int) -> [Range<Int>] {
    let size = min(max((channels + 7) / 8, 64), 512)
    return stride(from: 0, to: channels, by: size).map { $0..<min($0 + size, channels) }
  }

  /// Adds Σ a bᵀ over tokens.
  ///
  /// - Parameters:
  ///   - a: `[T, M]`, float32.
  ///   - b: `[T, N]`, float32; `a` itself where the sums are symmetric.
  ///   - total: `[M, N]` float64.
  ///   - rounding: added to each block's float64 numbers and taken off again; nil for nothing.
  package func add(_ a: Tensor, _ b: Tensor, to total: Tensor, rounding: Double? = nil) throws {
    func columns(_ tensor: Tensor, _ range: Range<Int>) throws -> Tensor {
      try tensor.narrow(dim: 1, start: range.lowerBound, length: range.count)
    }
    let home = total.device
    func add(_ rows: Range<Int>, _ range: Range<Int>) throws {
      let product = try columns(a, rows).transpose(0, 1).matmul(columns(b, range)).to(device: home).to(.float64)
      if let rounding {
        try product.add(rounding)
        try product.subtract(rounding)
      }
      try total.narrow(dim: 0, start: rows.lowerBound, length: rows.count)
        .narrow(dim: 1, start: range.lowerBound, length: range.count).add(product)
    }
    guard a.device == .cpu else {
      return try add(0..<(first.last?.upperBound ?? 0), 0..<(second.last?.upperBound ?? 0))
    }
    let pairs = first.indices.flatMap { row in ((isSymmetric ? row : 0)..<second.count).map { (row, $0) } }
    try LibTorch.parallel(pairs.count) { try add(first[pairs[$0].0], second[pairs[$0].1]) }
  }

  /// Both triangles of symmetric sums.
  package static func whole(_ total: Tensor) throws -> Tensor {
    try total.triu().adding(total.triu(diagonal: 1).transpose(0, 1))
  }
}
