import Torch

// Shapes: B rows, S tokens, N heads, D head_dim.

/// Norms of queries or of keys.
enum HeadNorm: Sendable {
  /// Over each head, with one weight for all.
  case head(Norm)
  /// Over all heads together.
  case projection(Norm)
  /// Over each head, with a weight for each.
  case own([Norm])

  var weights: [Weight] {
    switch self {
    case .head(let norm), .projection(let norm): norm.weights
    case .own(let norms): norms.flatMap(\.weights)
    }
  }

  /// `[B, S, N, D]`, or `[B, S, N × D]` of all heads together.
  func forward(_ x: Tensor, weights: LayerWeights) throws -> Tensor {
    switch self {
    case .head(let norm), .projection(let norm): return try norm.forward(x, weights: weights)
    case .own(let norms):
      let heads = try norms.enumerated().map { number, norm in
        try norm.forward(x.narrow(dim: 2, start: number, length: 1), weights: weights)
      }
      return try Tensor.cat(heads, dim: 2)
    }
  }
}
