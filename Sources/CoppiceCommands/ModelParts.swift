import Minitron
import Models

/// What a model consists of, counted from its table of weights: embedding, blocks by their kind, norms, head.
struct ModelParts {
  struct Part {
    let name: String
    /// Parameters in all layers, or outside them.
    var params = 0
    /// Parameters in each layer that has the part; empty outside the layers.
    var layers: [Int] = []

    /// `12,345`, or `100 – 12,345` where layers are unlike; nil outside the layers.
    var range: ClosedRange<Int>? {
      guard let least = layers.min(), let most = layers.max() else { return nil }
      return least...most
    }
  }

  private(set) var parts: [Part] = []
  /// Keys, values and states for the rows and tokens asked for.
  private(set) var cacheBytes = 0

  init(_ model: ModelDescription, rows: Int, tokens: Int) {
    func count(_ weights: some Sequence<Weight>, inLayer layer: Int? = nil) -> Int {
      let sizes = model.sizes(inLayer: layer)
      return weights.reduce(0) { $0 + $1.elementCount(sizes) }
    }
    add("embedding", count([model.embedding]), inLayer: nil)
    for (number, layer) in model.layers.enumerated() {
      let sizes = model.sizes(inLayer: number)
      for sublayer in layer.sublayers {
        add(Self.name(of: sublayer.block), count(sublayer.block.weights, inLayer: number), inLayer: number)
        cacheBytes += sublayer.block.cacheBytes(rows: rows, tokens: tokens, sizes: sizes)
      }
      let norms = count(
        Set(layer.sublayers.flatMap { $0.norms.flatMap(\.weights) }).union(layer.scalar.map { [$0] } ?? []),
        inLayer: number)
      if norms > 0 { add("norms", norms, inLayer: number) }
    }
    if let inputs = model.layerInputs { add("layer_inputs", count(inputs.weights), inLayer: nil) }
    if let positions = model.positions { add("positions", count([positions]), inLayer: nil) }
    if !model.finalNorm.weights.isEmpty { add("final_norm", count(model.finalNorm.weights), inLayer: nil) }
    let head = [model.head, model.headBias].compactMap { $0 }
    if !head.isEmpty { add("head", count(head), inLayer: nil) }
    let further = model.predictionWeights.map(\.weight)
    if !further.isEmpty { add("prediction", count(further), inLayer: nil) }
    // What leads from an encoder of images into the hidden size.
    if !model.others.isEmpty { add("projector", count(model.others), inLayer: nil) }
  }

  private var lastLayer: [String: Int] = [:]

  private mutating func add(_ name: String, _ params: Int, inLayer layer: Int?) {
    let at = parts.firstIndex { $0.name == name } ?? parts.count
    if at == parts.count { parts.append(Part(name: name)) }
    parts[at].params += params
    guard let layer else { return }
    // Two blocks of a kind in one layer are one part of it.
    if lastLayer.updateValue(layer, forKey: name) == layer, let last = parts[at].layers.indices.last {
      parts[at].layers[last] += params
    } else {
      parts[at].layers.append(params)
    }
  }

  /// `attention`, `mlp`; a block without a name of its own goes by its type's: `MixtureOfExperts` is
  /// `mixture_of_experts`.
  private static func name(of block: any Block) -> String {
    if block is GatedMLP || block is PlainMLP { return "mlp" }
    var name = ""
    for character in String(describing: type(of: block)) {
      if character.isUppercase, name.last?.isLowercase == true { name += "_" }
      name += character.lowercased()
    }
    return name
  }
}
