import Models
package import Torch

// Shapes: B rows, S tokens, M = B × S, H hidden of the student, H' of the teacher.

/// A layer of the student and one of the teacher whose results should be alike.
public struct LayerPair: Sendable, Hashable {
  public enum Kind: String, Sendable, CaseIterable {
    /// 1 − the cosine of the angle between the two.
    case cosine
    /// The sum of squared differences.
    case mse
  }

  /// From 1 on: the residual stream after this layer.
  public let student: Int, teacher: Int
  public let kind: Kind

  public init(student: Int, teacher: Int, kind: Kind = .cosine) {
    (self.student, self.teacher, self.kind) = (student, teacher, kind)
  }
}

/// Losses of layers' results, token by token; where the teacher is of another width, through a projection that is learned with the
/// student and is not a part of it (`HiddenStateCosineLoss` and `ProjectionLayer` of the reference).
package final class IntermediateLosses {
  private let pairs: [LayerPair]
  private let projections: [(matrix: Parameter, bias: Parameter)?]

  /// Projections become parameters of the model.
  package init(_ pairs: [LayerPair], _ model: TrainedModel, teacherWidth: Int) throws {
    self.pairs = pairs
    let width = model.description.sizes[.hidden]
    // The same in every process.
    try LibTorch.seed(0)
    projections = try pairs.map { pair in
      guard width != teacherWidth else { return nil }
      func parameter(_ name: String, _ value: Tensor) throws -> Parameter {
        let weight = Weight("intermediate_layers.\(pair.student).\(pair.teacher).\(pair.kind.rawValue).\(name)", [])
        return try Parameter(.init(weight: weight, layer: nil, expert: nil), value: value.to(device: model.device))
      }
      // As Megatron starts its linear maps.
      let start = try Tensor.randn([teacherWidth, width]).multiplied(by: 0.02)
      return (
        try parameter("weight", start),
        try parameter("bias", Tensor.zeros([teacherWidth], dtype: .float32))
      )
    }
    model.add(projections.compactMap { $0 }.flatMap { [$0.matrix, $0.bias] })
  }

  /// Layers of the teacher, 0-based.
  var teacherLayers: [Int] { Set(pairs.map { $0.teacher - 1 }).sorted() }

  /// 0-based.
  func wants(_ layer: Int) -> Bool { pairs.contains { $0.student == layer + 1 } }

  /// A loss that waits for its weight.
  package struct Found {
    /// The mean over pairs, summed over tokens by their weights.
    package let value: Double
    fileprivate let parts: [Part]

    fileprivate struct Part {
      let layer: Int
      let loss: Tensor
      let state: Tensor
      let leaves: [(parameter: Parameter, leaf: Tensor)]
    }

    /// Adds the gradients of projections.
    ///
    /// - Parameter weight: of the loss in what is minimised.
    /// - Returns: the gradients by the layers' results, by their 0-based numbers, `[B, S, H]`.
    package func backward(weight: Double) throws -> [Int: Tensor] {
      var slopes: [Int: Tensor] = [:]
      for part in parts {
        let given = try Tensor.full([], weight / Double(parts.count), dtype: .float32, device: part.loss.device)
        let found = try Tensor.gradients(of: [part.loss], given: [given], by: [part.state] + part.leaves.map(\.leaf))
        for (slope, leaf) in zip(found.dropFirst(), part.leaves) {
          if let slope { try leaf.parameter.add(slope) }
        }
        guard let slope = found[0] else { continue }
        slopes[part.layer] = try slopes[part.layer]?.adding(slope) ?? slope
      }
      return slopes
    }
  }

  /// - Parameters:
  ///   - own: the student's streams after layers, by their 0-based numbers, `[B, S, H]`.
  ///   - theirs: the teacher's, `[M, H']`.
  ///   - weights: of each token, `[M]` float32.
  package func callAsFunction(_ own: [Int: Tensor], _ theirs: [Int: Tensor], weights: Tensor) throws -> Found {
    var value = 0.0
    let parts = try zip(pairs, projections).map { pair, projection in
      guard let state = own[pair.student - 1], let other = theirs[pair.teacher - 1] else {
        throw ModelError("layers \(pair.student) and \(pair.teacher) were not both seen")
      }
      // The teacher's was computed where nothing is recorded.
      let target = try other.to(.float32).clone()
      let leaf = try state.leaf(wantsGradient: true)
      var rows = try leaf.reshape([-1, state.shape[2]]).to(.float32)
      var leaves: [(parameter: Parameter, leaf: Tensor)] = []
      if let projection {
        leaves = try [projection.matrix, projection.bias].map {
          (parameter: $0, leaf: try $0.value().leaf(wantsGradient: true))
        }
        rows = try rows.linear(weight: leaves[0].leaf, bias: leaves[1].leaf)
      }
      let each: Tensor
      switch pair.kind {
      case .cosine:
        func squares(_ rows: Tensor) throws -> Tensor { try rows.multiplied(by: rows).sum(dims: [1]).adding(1e-12) }
        let lengths = try squares(rows).multiplied(by: squares(target)).sqrt()
        each = try rows.multiplied(by: target).sum(dims: [1]).divided(by: lengths).negated().adding(1)
      case .mse:
        let gap = try rows.subtracting(target)
        each = try gap.multiplied(by: gap).sum(dims: [1])
      }
      let loss = try each.multiplied(by: weights).sum()
      value += try loss.item() / Double(pairs.count)
      return Found.Part(layer: pair.student - 1, loss: loss, state: leaf, leaves: leaves)
    }
    return Found(value: value, parts: parts)
  }
}
