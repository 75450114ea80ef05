public import Torch

/// The linear maps of a layer's routed experts, however a checkpoint stores them.
///
/// Shapes: E experts, N inputs of a map, M outputs.
public struct ExpertMaps: Sendable {
  /// Those that read the tokens.
  public let first: [Weight]
  /// The one that reads what these give.
  public let down: Weight
  /// Biases, `[E, M]`, of those that have one.
  public let biases: [Weight: Weight]
  /// Whether they are stored as `[E, N, M]` in place of `[E, M, N]`.
  private let isTransposed: Bool

  init(first: [Weight], down: Weight, biases: [Weight: Weight] = [:], isTransposed: Bool = false) {
    (self.first, self.down, self.biases, self.isTransposed) = (first, down, biases, isTransposed)
  }

  /// Of a weight, experts counted as the first axis.
  public var inputAxis: Int { isTransposed ? 1 : 2 }
  public var outputAxis: Int { isTransposed ? 2 : 1 }

  /// One expert's map, with its bias as the last column: `[M, N]` or `[M, N + 1]`, float32 on the CPU.
  public func map(_ weight: Weight, of expert: Int, in weights: LayerWeights) throws -> Tensor {
    func wide(_ weight: Weight) throws -> Tensor {
      try weights.expert(expert, of: weight).to(device: .cpu).to(.float32)
    }
    let stored = try wide(weight)
    let map = try isTransposed ? stored.transpose(0, 1) : stored
    return try biases[weight].map { try Tensor.cat([map, wide($0).unsqueeze(1)], dim: 1) } ?? map
  }

  /// What `map` gave of all experts, as it is stored: matrices, and biases where there are.
  public func stored(_ maps: [Tensor], as weight: Weight) throws -> [Weight: Tensor] {
    let matrices =
      try biases[weight] == nil ? maps : maps.map { try $0.narrow(dim: 1, start: 0, length: $0.shape[1] - 1) }
    let all = try Tensor.stack(matrices.map { try isTransposed ? $0.transpose(0, 1) : $0 }, dim: 0)
    var found = [weight: all]
    if let bias = biases[weight] {
      found[bias] = try Tensor.stack(maps.map { try $0.select(dim: 1, index: $0.shape[1] - 1) }, dim: 0)
    }
    return found
  }
}
