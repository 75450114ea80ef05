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

  func products(_ states: Tensor, _ rows: Range<Int>) throws -> Tensor { try states.linear(weight: part(rows)) }

  func logits(of products: Tensor, _ rows: Range<Int>) throws -> Tensor {
    try scales.logits(
      of: products, bias: bias?.value().narrow(dim: 0, start: rows.lowerBound, length: rows.count), widening: false)
  }

  /// Adds the gradients of a block's rows, and those by its states.
  ///
  /// - Parameters:
  ///   - slope: by the logits, `[M, R]` in their type.
  ///   - states: of all tokens, `[… , H]`, and the gradient by them in float32.
  func backward(_ slope: Tensor, _ block: LogitBlock, states: Tensor, addingTo gradient: Tensor) throws {
    let rows = block.rows
    func tokens(_ all: Tensor) throws -> Tensor {
      try all.narrow(dim: 0, start: block.tokens.lowerBound, length: block.tokens.count)
    }
    var slope = slope
    if let softcap = scales.softcap {
      // tanh' = 1 − tanh².
      let bent = try block.logits.divided(by: softcap).square().negated().adding(1)
      slope = try slope.multiplied(by: bent)
    }
    if let factor = scales.logits { slope = try slope.multiplied(by: factor) }
    func some(_ gradient: Tensor) throws -> Tensor {
      try gradient.narrow(dim: 0, start: rows.lowerBound, length: rows.count)
    }
    try bias?.addToGradient { try some($0).add(slope.sum(dims: [0])) }
    let narrow = try slope.to(states.dtype)
    try weight.addToGradient { try some($0).addMatmul(narrow.transpose(0, 1), tokens(states)) }
    try tokens(gradient).addMatmul(narrow, part(rows))
  }
}
