public import Torch

// Shapes: H hidden, K directions that are kept.

/// A model's weights in a rotated basis, tensor by tensor: computed in float32 and rounded once to the stored type. What
/// is computed with and what is exported are the same numbers.
public final class RotatedWeights {
  public let model: SourceModel
  public let rotation: Rotation
  /// `[H, H]` float32.
  private let directions: Tensor
  /// The weights of norms, as they multiply: float32.
  private var gains: [String: Tensor] = [:]

  public init(_ model: SourceModel, _ rotation: Rotation, device: Device = .cpu) throws {
    self.model = model
    self.rotation = rotation
    directions = try Tensor(rotation.directions, shape: [rotation.hidden, rotation.hidden]).to(device: device)
  }

  /// The first `count` directions, one in each column: `[H, K]` float32.
  public func directions(keeping count: Int) throws -> Tensor {
    try count == rotation.hidden ? directions : directions.narrow(dim: 1, start: 0, length: count)
  }

  /// What a norm multiplies by, `[H]` float32.
  func gain(_ norm: Norm, layer: Int?) throws -> Tensor {
    guard let weight = norm.weight else { throw ModelError("a norm without a weight has no gain to fold") }
    let name = weight.name(layer: layer)
    if let made = gains[name] { return made }
    let gain = try model.tensor(name).to(.float32).adding(norm.kind.offset).to(device: directions.device)
    gains[name] = gain
    return gain
  }

  /// A weight's tensor, or a part of it, turned to the first `count` directions: of the same type, on the basis's device.
  ///
  /// - Parameters:
  ///   - tensor: whole on the axes that turn.
  ///   - weight: what it is of.
  ///   - layer: 0-based; nil outside the layers.
  ///   - dropped: axes of the weight that the tensor does not have: 1 for one expert's part.
  ///   - count: of directions.
  /// - Returns: the tensor itself where it does not meet the stream.
  public func turned(_ tensor: Tensor, of weight: Weight, layer: Int?, dropped: Int = 0, keeping count: Int) throws
    -> Tensor
  {
    switch model.description.rotationRole(of: weight, layer: layer) {
    case nil: return tensor
    case .constant(let number, let norm):
      let values = rotation.weight(ofNorm: number, keeping: count)
      return try Tensor(values, shape: [count]).adding(-norm.kind.offset).to(tensor.dtype)
        .to(device: directions.device)
    case .turned(let axes):
      return try axes.reduce(tensor) { tensor, axis in
        try turn(
          tensor, axis: axis.axis - dropped, gain: axis.norm.map { try gain($0, layer: layer) }, keeping: count)
      }
    }
  }

  /// Elements that are float32 at a time.
  private static let slice = 8 << 20

  private func turn(_ tensor: Tensor, axis: Int, gain: Tensor?, keeping count: Int) throws -> Tensor {
    let (last, hidden) = (tensor.shape.count - 1, rotation.hidden)
    guard tensor.shape.indices.contains(axis), tensor.shape[axis] == hidden else {
      throw ModelError("a tensor of shape \(tensor.shape) has no axis \(axis) of \(hidden) channels to rotate")
    }
    let swapped = try axis == last ? tensor : tensor.transpose(axis, last)
    let rows = try swapped.reshape([-1, hidden])
    let result = try Tensor.empty([rows.shape[0], count], dtype: tensor.dtype, device: directions.device)
    let step = max(Self.slice / hidden, 1)
    for first in stride(from: 0, to: rows.shape[0], by: step) {
      let length = min(step, rows.shape[0] - first)
      var part = try rows.narrow(dim: 0, start: first, length: length).to(device: directions.device).to(.float32)
      if let gain { part = try part.multiplied(by: gain) }
      // All directions, whatever is kept: a product with fewer columns may round otherwise, and what was walked is what is exported.
      let turned = try part.matmul(directions).narrow(dim: 1, start: 0, length: count)
      try result.narrow(dim: 0, start: first, length: length).copy(from: turned)
    }
    let shaped = try result.reshape(Array(swapped.shape.dropLast()) + [count])
    return try axis == last ? shaped : shaped.transpose(axis, last).contiguous()
  }

  /// The embedding's rows of these tokens, `[B, S]` → `[B, S, K]`, of the stored type.
  public func embedding(of tokens: Tensor, keeping count: Int) throws -> Tensor {
    let rows = try Tensor.embedding(weight: model.tensor(model.description.embedding.name), indices: tokens)
    return try turn(rows, axis: rows.shape.count - 1, gain: nil, keeping: count)
  }

  /// Rows of the head (the embedding, where that is the head), `[rows, H]` → `[rows, K]`, of the stored type.
  public func head(_ rows: Tensor, keeping count: Int) throws -> Tensor {
    let description = model.description
    return try turned(rows, of: description.head ?? description.embedding, layer: nil, keeping: count)
  }
}
