public import Models

/// What a pruned model would weigh, computed from the table of weights alone.
public struct Metrics: Sendable, Equatable {
  /// Weights a checkpoint would hold; a tied head counts once.
  public let params: Int
  /// Weights one token uses.
  public let activeParams: Int
  /// MiB of weights (2 bytes each), key-value caches and states.
  public let memoryMB: Double
}

/// Counts architectures of one model quickly: layers of the same kind are counted once.
public struct MetricsCounter: Sendable {
  private let model: ModelDescription
  private let kinds: [LayerDescription]
  private let kindOfLayer: [Int]
  private let rows: Int
  private let tokens: Int

  /// - Parameters:
  ///   - rows: sequences held at once (`--inference_batch_size`).
  ///   - tokens: their length (`--seq_length`).
  public init(_ model: ModelDescription, rows: Int, tokens: Int) {
    self.model = model
    self.rows = rows
    self.tokens = tokens
    (kinds, kindOfLayer) = model.kindsOfLayers
  }

  /// - Parameter layers: the layers that stay (0-based).
  public func metrics(sizes: Sizes, layers: some Sequence<Int>) -> Metrics {
    let outer = model.outerWeights.reduce(0) { $0 + $1.elementCount(sizes) }
    let perKind = kinds.map { layer in
      layer.sublayers.reduce(into: (params: 0, active: 0, cache: 0)) { sum, part in
        let norms = ((part.norm?.weights ?? []) + (part.postNorm?.weights ?? []))
          .reduce(0) { $0 + $1.elementCount(sizes) }
        sum.params += norms + part.block.weights.reduce(0) { $0 + $1.elementCount(sizes) }
        sum.active += norms + part.block.activeElements(sizes: sizes)
        sum.cache += part.block.cacheElements(rows: rows, tokens: tokens, sizes: sizes)
      }
    }
    var total = (params: outer, active: outer, cache: 0)
    for layer in layers {
      let kind = perKind[kindOfLayer[layer]]
      total.params += kind.params
      total.active += kind.active
      total.cache += kind.cache
    }
    return Metrics(
      params: total.params, activeParams: total.active,
      memoryMB: Double(2 * (total.params + total.cache)) / 1_048_576)
  }
}

extension ModelDescription {
  /// Layers with the same weights are of one kind: an example of each kind, and for each layer the number of its kind.
  var kindsOfLayers: (kinds: [LayerDescription], kindOfLayer: [Int]) {
    var numbers: [[Weight]: Int] = [:]
    var kinds: [LayerDescription] = []
    let kindOfLayer = layers.map { layer in
      let weights = layer.weights
      if let number = numbers[weights] { return number }
      numbers[weights] = kinds.count
      kinds.append(layer)
      return kinds.count - 1
    }
    return (kinds, kindOfLayer)
  }
}
