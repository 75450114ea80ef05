import Models
import Torch

// Shapes: B rows, S tokens, H hidden.

/// One layer's way there and back for a micro-batch. What lies between is recorded on the way there, or, to save memory,
/// computed again on the way back from the layer's input (Chen et al. 2016, arXiv 1604.06174).
struct LayerPass {
  private let layer: Int
  private let context: ForwardContext
  private let input: Tensor
  /// What the layer gets besides the stream, `[B, S, P]`; nil for nothing.
  private let own: Tensor?
  private var recorded: Recorded?

  private struct Recorded {
    let input: Tensor
    let own: Tensor?
    let output: Tensor
    let leaves: [(parameter: Parameter, leaf: Tensor)]
  }

  /// - Parameters:
  ///   - context: of the micro-batch. Its positions are used on both ways.
  ///   - input: `[B, S, H]`.
  ///   - own: what the layer gets of each token besides, `[B, S, P]`; nil for nothing.
  init(_ layer: Int, context: ForwardContext, input: Tensor, own: Tensor?) {
    (self.layer, self.input, self.own) = (layer, input, own)
    var context = context
    if let own { context.layerInput = { own } }
    self.context = context
  }

  /// The layer's output, `[B, S, H]`, with nothing recorded in it.
  mutating func forward(_ model: TrainedModel, keepsRecord: Bool) throws -> Tensor {
    if keepsRecord {
      let made = try record(model)
      recorded = made
      return try made.output.leaf(wantsGradient: false)
    }
    return try model.description.layers[layer].forward(input, weights: model.weights(layer: layer), context: context)
  }

  /// Adds the gradients of the layer's weights.
  ///
  /// - Parameter slope: by the output, `[B, S, H]`.
  /// - Returns: the gradients by the input, and by what the layer gets besides.
  mutating func backward(_ model: TrainedModel, slope: Tensor) throws -> (input: Tensor, own: Tensor?) {
    let made = try recorded ?? record(model)
    recorded = nil
    let slopes = try Tensor.gradients(
      of: [made.output], given: [slope], by: [made.input] + made.leaves.map(\.leaf) + [made.own].compactMap { $0 })
    for (slope, leaf) in zip(slopes.dropFirst(), made.leaves) {
      // Of what only chooses (the bias of a router's choice) there is no gradient.
      if let slope { try leaf.parameter.add(slope) }
    }
    guard let first = slopes[0] else { throw ModelError("layer \(layer + 1) does not depend on its input") }
    return (first, made.own == nil ? nil : slopes.last ?? nil)
  }

  private func record(_ model: TrainedModel) throws -> Recorded {
    let copies = try model.weights(layer: layer)
    let leaves = try model.layers[layer].map { parameter in
      let weight = parameter.name.weight
      let copy = try parameter.name.expert.map { try copies.expert($0, of: weight) } ?? copies[weight]
      return (parameter: parameter, leaf: try copy.leaf(wantsGradient: true))
    }
    let weights = TrainedModel.collect(leaves.map { ($0.parameter.name, $0.leaf) })
    let (start, own) = (try input.leaf(wantsGradient: true), try own?.leaf(wantsGradient: true))
    var context = context
    if let own { context.layerInput = { own } }
    let output = try model.description.layers[layer].forward(start, weights: weights, context: context)
    return Recorded(input: start, own: own, output: output, leaves: leaves)
  }
}
