public import Models
public import Torch

// Shapes: S new tokens, H hidden, V vocabulary.

/// Continues one sequence token by token. Unlike the `Executor` it holds the whole model: layers are brought in
/// once (mapped, or converted to the type computed with), and keys and values of earlier tokens are kept.
public final class Generator {
  private let weights: WeightSource
  private let layers: [LayerWeights]
  private let final: LayerWeights
  private let head: OutputHead
  private var cache = KeyValueCache()
  private var seen: [Int32] = []
  /// Tokens seen so far.
  public var position: Int { seen.count }

  private var description: ModelDescription { weights.model.description }

  /// - Parameters:
  ///   - dtype: the type computed with.
  ///   - model: the checkpoint.
  ///   - device: where tensors are.
  /// - Throws: what reading the weights throws.
  public init(_ model: SourceModel, dtype: DType, device: Device = .cpu) throws {
    let weights = WeightSource(model, dtype: dtype, device: device)
    self.weights = weights
    layers = try model.description.layers.indices.map { try weights.layer($0) }
    var tensors: [Weight: Tensor] = [:]
    for weight in model.description.finalNorm.weights { tensors[weight] = try weights.tensor(weight.name) }
    final = LayerWeights(tensors)
    head = try OutputHead(weights, of: Subject(Selection(all: model.description)))
  }

  /// Forgets all tokens.
  public func reset() {
    cache = KeyValueCache()
    seen = []
  }

  /// Appends tokens to the sequence.
  ///
  /// Dynamic rope stretches its base with the length so far once that exceeds `max_position_embeddings`, and LongRoPE
  /// takes its long factors beyond the original context: new tokens are rotated for the new length, cached keys are kept
  /// as they were rotated. `transformers` generates so too; only there do these logits differ from those of a forward pass
  /// over the whole sequence. Phi-3 computes all keys anew when it crosses that length (`recomputesBeyond`).
  /// - Returns: the logits after each of them, `[S, V]` float32; after the last one only, `[1, V]`, unless `all`.
  /// - Throws: `ModelError` for no tokens, or one outside the vocabulary.
  public func logits(appending tokens: [Int32], all: Bool = false) throws -> Tensor {
    try weights.model.check(tokens)
    var row = tokens
    if let limit = description.recomputesBeyond, position > 0, position <= limit, position + tokens.count > limit {
      row = seen + tokens
      reset()
    }
    let numbers = try TokenBatch([row]).tensor()
    var h = try weights.embed(numbers, places: Array(position..<position + row.count))
    let positions = Positions(start: position, count: row.count, dtype: weights.dtype, device: weights.device)
    for (index, layer) in description.layers.enumerated() {
      var context = ForwardContext(layer: index, lengths: [row.count], positions: positions, cache: cache)
      context.layerInput = weights.layerInput(numbers, layer: index, keeping: nil)
      h = try layer.forward(h, weights: layers[index], context: context)
    }
    seen += row
    let wanted = all ? tokens.count : 1
    let states = try h.select(dim: 0, index: 0).narrow(dim: 0, start: row.count - wanted, length: wanted)
    return try head.logits(description.finalNorm.forward(states, weights: final))
  }
}
