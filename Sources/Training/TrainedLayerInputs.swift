import Models
import Torch

// Shapes: B rows, S tokens, H hidden, L layers, P channels of a layer's input.

/// What each layer gets of a micro-batch's tokens besides the residual stream, there and back.
final class TrainedLayerInputs {
  private let model: TrainedModel
  private let inputs: LayerInputs
  private let tokens: Tensor
  private let embedded: Tensor
  private let projection: Parameter, gain: Parameter
  private let table: Tensor
  /// By the embeddings, of the layers so far, `[B, S, H]` float32.
  private(set) var embeddedSlope: Tensor?

  /// - Parameters:
  ///   - tokens: `[B, S]` int64.
  ///   - embedded: as they go into the first layer, `[B, S, H]`.
  /// - Returns: nil where layers get nothing.
  init?(_ model: TrainedModel, _ tokens: Tensor, embedded: Tensor) throws {
    guard let inputs = model.description.layerInputs, let gain = inputs.norm.weight else { return nil }
    (self.model, self.inputs, self.embedded) = (model, inputs, embedded)
    (projection, self.gain) = (try model.outer(inputs.projection), try model.outer(gain))
    // The table is as wide as all layers together: its rows are read where the checkpoint is.
    self.tokens = try tokens.to(device: .cpu)
    table = try model.model.tensor(inputs.table.name)
  }

  private var width: Int { gain.shape[0] }

  private func parts(_ layer: Int) throws -> (rows: Tensor, matrix: Tensor) {
    let rows = try inputs.part(ofTable: table, layer: layer, width: width)
    return (
      try Tensor.embedding(weight: rows, indices: tokens).to(embedded.dtype).to(device: embedded.device),
      try inputs.part(ofProjection: model.copy(projection), layer: layer, width: width)
    )
  }

  /// `[B, S, P]`.
  func input(_ layer: Int) throws -> Tensor {
    let (rows, matrix) = try parts(layer)
    return try inputs.input(rows: rows, embedded: embedded, matrix: matrix, gain: model.copy(gain))
      .leaf(wantsGradient: false)
  }

  /// Adds the gradients of a layer's part of the projection, and of the norm.
  ///
  /// - Parameter slope: by the layer's input, `[B, S, P]`.
  func backward(_ layer: Int, slope: Tensor) throws {
    let (rows, matrix) = try parts(layer)
    let leaves = try [embedded, matrix, model.copy(gain)].map { try $0.leaf(wantsGradient: true) }
    let made = try inputs.input(rows: rows, embedded: leaves[0], matrix: leaves[1], gain: leaves[2])
    let slopes = try Tensor.gradients(of: [made], given: [slope], by: leaves)
    if let slope = slopes[1] {
      try projection.addToGradient { try inputs.part(ofProjection: $0, layer: layer, width: width).add(slope) }
    }
    if let slope = slopes[2] { try gain.addToGradient { try $0.add(slope) } }
    guard let own = try slopes[0]?.to(.float32) else { return }
    if let embeddedSlope { try embeddedSlope.add(own) } else { embeddedSlope = try own.clone() }
  }
}
