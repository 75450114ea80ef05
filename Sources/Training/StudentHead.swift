import Models
import Torch

// Shapes: M tokens, H hidden, V vocabulary, R rows of a slice of it.

/// The head of the model that is trained: logits of a slice of the vocabulary, and their way back.
struct StudentHead: SlicedHead {
  private let weight: Parameter
  private let bias: Parameter?
  /// `[V, H]` in the type computed with.
  private let matrix: Tensor
  private let scales: OuterScales

  init(_ model: TrainedModel) throws {
    weight = try model.head()
    bias = try model.description.headBias.map { try model.outer($0) }
    matrix = try model.headMatrix()
    scales = model.description.scales
  }

  var vocabulary: Int { matrix.shape[0] }

  private func part(_ rows: Range<Int>) throws -> Tensor {
    try matrix.narrow(dim: 0, start: rows.lowerBound, length: rows.count)
  }

  func logits(_ states: Tensor, _ rows: Range<Int>) throws -> Tensor {
    try scales.logits(
      of: states.linear(weight: part(rows)),
      bias: bias?.value().narrow(dim: 0, start: rows.lowerBound, length: rows.count))
  }

  /// Adds the gradients of a slice's rows.
  ///
  /// - Parameters:
  ///   - slope: by the logits, `[M, R]` float32.
  ///   - states: `[M, H]`.
  /// - Returns: the gradient by the states, `[M, H]` float32.
  func backward(_ slope: Tensor, states: Tensor, _ rows: Range<Int>) throws -> Tensor {
    var slope = slope
    if let softcap = scales.softcap {
      // tanh' = 1 − tanh².
      let bent = try logits(states, rows).divided(by: softcap).square().negated().adding(1)
      slope = try slope.multiplied(by: bent)
    }
    if let factor = scales.logits { slope = try slope.multiplied(by: factor) }
    func some(_ gradient: Tensor) throws -> Tensor {
      try gradient.narrow(dim: 0, start: rows.lowerBound, length: rows.count)
    }
    try bias?.addToGradient { try some($0).add(slope.sum(dims: [0])) }
    let narrow = try slope.to(states.dtype)
    try weight.addToGradient { try some($0).add(narrow.transpose(0, 1).matmul(states)) }
    return try narrow.matmul(part(rows)).to(.float32)
  }
}
