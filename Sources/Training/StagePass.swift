import Execution
import Models
import Torch

// Shapes: B rows, S tokens, H hidden.

/// A micro-batch's way through the layers that are here, there and, where something is learned, back.
final class StagePass {
  private let model: TrainedModel
  private let tokens: Tensor
  /// Positions of the tokens, `[S]` int64; nil where they follow one another from 0 on.
  private let places: Tensor?
  private let inputs: TrainedLayerInputs?
  private var passes: [LayerPass] = []

  let batch: TrainingBatch
  /// What leaves the last of the layers, `[B, S, H]`, with nothing recorded in it.
  let output: Tensor
  /// What leaves layers that are looked at, by their 0-based numbers.
  private(set) var seen: [Int: Tensor] = [:]

  /// Where a batch's tokens stand.
  struct Places {
    let positions: Positions
    let packed: PackedContext?
  }

  /// What a pass is for.
  enum Purpose {
    /// Losses alone: there is no way back.
    case measuring
    /// Gradients, from what is recorded on the way there or computed again.
    case learning(keepsRecord: Bool)
  }

  /// The way there.
  ///
  /// - Parameters:
  ///   - input: what comes from the stage before, `[B, S, H]`; nil in the first, where tokens are embedded.
  ///   - wants: the layers that are looked at.
  init(
    _ model: TrainedModel, _ batch: TrainingBatch, _ places: Places, input: Tensor?, for purpose: Purpose,
    wants: (Int) -> Bool
  ) throws {
    (self.model, self.batch) = (model, batch)
    let lengths = batch.lengths
    func sent(_ numbers: [Int64], _ shape: [Int]) throws -> Tensor {
      try Tensor(numbers, shape: shape).to(device: model.device)
    }
    tokens = try sent(batch.flat(batch.inputs, filling: 0).map(Int64.init), [lengths.count, batch.width])
    self.places = try batch.packing.map { try sent($0.positions.map(Int64.init), [$0.positions.count]) }
    var h = try input ?? model.embed(tokens, places: self.places)
    inputs = try TrainedLayerInputs(model, tokens, embedded: h)
    for layer in model.stage {
      var pass = LayerPass(
        layer,
        context: ForwardContext(layer: layer, lengths: lengths, positions: places.positions, packed: places.packed),
        input: h, own: try inputs?.input(layer))
      switch purpose {
      case .measuring: h = try pass.forward(model, keepsRecord: false)
      case .learning(let keepsRecord):
        h = try pass.forward(model, keepsRecord: keepsRecord)
        passes.append(pass)
        if wants(layer) { seen[layer] = h }
      }
    }
    output = h
  }

  /// The way back: adds the gradients of the layers' weights, and in the first stage of the embedding.
  ///
  /// - Parameters:
  ///   - slope: by the output, `[B, S, H]`.
  ///   - further: by what leaves layers besides, by their numbers.
  ///   - exchange: gets the gradients of layers, where this pass is the last that adds to them.
  /// - Returns: the gradient by the input.
  func backward(_ slope: Tensor, further: [Int: Tensor], exchange: GradientExchange?) throws -> Tensor {
    var back = slope
    seen = [:]
    for layer in model.stage.reversed() {
      if let own = further[layer] { back = try back.adding(own) }
      guard var pass = passes.popLast() else { throw ModelError("layer \(layer + 1) was not gone through") }
      let found = try pass.backward(model, slope: back)
      back = found.input
      if let own = found.own { try inputs?.backward(layer, slope: own) }
      try exchange?.send(layer: layer)
    }
    if let further = inputs?.embeddedSlope { back = try back.adding(further.to(back.dtype)) }
    if model.isFirst { try model.addEmbeddingGradient(back, tokens: tokens, places: places) }
    return back
  }
}
