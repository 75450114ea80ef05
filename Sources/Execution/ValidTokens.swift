package import Torch

extension Tensor {
  /// The tokens of `[B, S, C]` or `[T, C]` that are no padding: `[T, C]`, perhaps a view.
  ///
  /// - Parameter lengths: valid tokens of each of B rows; nil where all are valid.
  package func valid(_ lengths: [Int]?) throws -> Tensor {
    let channels = shape[shape.count - 1]
    guard let lengths, shape.count == 3, lengths.contains(where: { $0 < shape[1] }) else {
      return try reshape([-1, channels])
    }
    let parts = try lengths.enumerated().map { row, length in
      try select(dim: 0, index: row).narrow(dim: 0, start: 0, length: length)
    }
    return try Tensor.cat(parts, dim: 0)
  }
}
