import Checkpoint
import Execution
public import Models
public import Torch

// Shapes: B rows, S tokens, H hidden, V vocabulary.

/// A model in memory whose weights change, or the layers of it that are one process's: float32 weights, and copies of them in the
/// type computed with.
public final class TrainedModel {
  public let model: SourceModel
  /// The type computed with.
  public let dtype: DType
  /// Where it is computed, and what belongs to its weights is kept.
  public let device: Device
  /// The layers that are here, 0-based: all of them, or those of a stage of a pipeline.
  public let stage: Range<Int>
  /// Every tensor that learns here, in the order of the checkpoint: embedding, layers, what follows.
  public private(set) var parameters: [Parameter] = []
  /// The same of the whole model, and the places of `parameters` in it.
  private(set) var slots: [ParameterSlot]
  private(set) var numbers: [Int] = []
  /// Those of each layer, in the same order, and those outside the layers.
  private(set) var layers: [[Parameter]] = []
  private var outside: [Weight: Parameter] = [:]
  /// Copies in the type computed with, until the weights change: of layers, and of what is outside them.
  private var copies: [Int: LayerWeights] = [:]
  private var outerCopies: [Weight: Tensor] = [:]

  public var description: ModelDescription { model.description }

  /// - Parameters:
  ///   - dtype: the type computed with.
  ///   - device: where it is computed.
  ///   - model: the checkpoint, which is read whole but for layers of other stages.
  ///   - stage: the layers that are trained here, 0-based, with the embedding before the first and the head after the last; nil for all.
  ///   - memory: what of the training is on disk.
  /// - Throws: `ModelError` for a model that cannot be trained here, what reading it throws.
  public init(
    _ model: SourceModel, dtype: DType, device: Device = .cpu, stage: Range<Int>? = nil,
    memory: TrainingMemory = .ample
  ) throws {
    (self.model, self.dtype, self.device) = (model, dtype, device)
    self.stage = stage ?? model.description.layers.indices
    slots = model.description.parameterSlots
    if let reason = Self.obstacle(model, inStages: self.stage != model.description.layers.indices) {
      throw ModelError("\(model.checkpoint.directory): \(reason)")
    }
    let source = WeightSource(model, dtype: .float32)
    func parameter(_ weight: Weight, _ layer: Int?, _ expert: Int?, _ tensor: Tensor) throws -> Parameter {
      // Mapped memory is not ours to change.
      let isMapped = device == .cpu && tensor.dtype == .float32 && tensor.isContiguous
      let own = try isMapped ? tensor.clone() : tensor.to(device: device).to(.float32).contiguous()
      return try Parameter(
        .init(weight: weight, layer: layer, expert: expert), value: own, places: memory.places(inLayer: layer != nil))
    }
    for weight in description.trainedOuterWeights(in: self.stage) {
      outside[weight] = try parameter(weight, nil, nil, model.tensor(weight.name))
    }
    for layer in description.layers.indices {
      guard self.stage.contains(layer) else {
        layers.append([])
        continue
      }
      let whole = try source.layer(layer)
      layers.append(
        try description.layers[layer].weights.flatMap { weight in
          guard weight.isPerExpert else { return [try parameter(weight, layer, nil, whole[weight])] }
          return try (whole.allExperts[weight] ?? []).enumerated().map { try parameter(weight, layer, $0, $1) }
        })
      source.release(layer: layer)
    }
    let outer = description.trainedOuterWeights.compactMap { outside[$0] }
    let inner = layers.joined()
    let first = outer.prefix { $0.name.weight == description.embedding }
    parameters = Array(first) + inner + outer.dropFirst(first.count)
    let places = Dictionary(slots.enumerated().map { ($1.name, $0) }) { first, _ in first }
    numbers = parameters.compactMap { places[$0.name] }
    guard numbers.map({ slots[$0].shape }) == parameters.map(\.shape) else {
      throw ModelError("\(model.checkpoint.directory): its tensors are not those that its architecture has")
    }
  }

  /// Numbers that learn here.
  public var elementCount: Int { parameters.reduce(0) { $0 + $1.elementCount } }

  /// Whether tokens are embedded here, and whether the final norm and the head are here.
  var isFirst: Bool { stage.lowerBound == 0 }
  var isLast: Bool { stage.upperBound == description.layers.count }

  /// Why a model cannot be trained; nil where it can.
  ///
  /// - Parameter inStages: whether processes have layers of it each.
  public static func obstacle(_ model: SourceModel, inStages: Bool = false) -> String? {
    let description = model.description
    if description.keepsPrediction { return "modules that predict further tokens are not trained here" }
    if inStages, description.layerInputs != nil {
      return "every layer gets an input made of the embeddings, so that pipeline stages cannot train it apart"
    }
    return nil
  }

  /// About the bytes that one micro-batch's activations take where all of them are kept: what projections give, and as much
  /// again of each.
  ///
  /// - Parameters:
  ///   - tokens: of the micro-batch.
  ///   - elementSize: bytes of a number computed with.
  static func recordBytes(_ description: ModelDescription, tokens: Int, elementSize: Int) -> Int {
    let elements = description.layers.enumerated().reduce(0) { sum, layer in
      let sizes = description.sizes(inLayer: layer.offset)
      return layer.element.sublayers.reduce(sum + 2 * sizes[.hidden]) { sum, sublayer in
        let block = sublayer.block
        let given = block.weights.filter(\.isProjection).reduce(0) { $0 + ($1.axes.first?.size(sizes) ?? 0) }
        let routed = block.expertsPerToken * (2 * sizes[.hidden] + 4 * sizes[.moeFFN])
        return sum + 2 * given + routed + 2 * sizes[.hidden]
      }
    }
    return tokens * elements * elementSize
  }

  /// Whether activations of a micro-batch take more than a quarter of some memory, so that they are better computed again.
  public static func isShort(
    of memory: Int, _ description: ModelDescription, tokens: Int, elementSize: Int
  ) -> Bool { recordBytes(description, tokens: tokens, elementSize: elementSize) > memory / 4 }

  /// A weight as the checkpoint stores it, in its type; of one with a tensor for each expert all of them, stacked.
  ///
  /// - Parameter absent: the value, by name and shape, of one that another process has.
  public func stored(
    _ weight: Weight, layer: Int?, absent: (_ name: String, _ shape: [Int]) throws -> Tensor = TrainedModel.nobodyElse
  ) throws -> Tensor? {
    guard layer != nil || description.trainedOuterWeights.contains(weight) else { return nil }
    let wanted = description.slots(of: weight, layer: layer)
    guard let first = wanted.first?.name else { return nil }
    let held = Dictionary(
      (layer.map { layers[$0] } ?? [outside[weight]].compactMap { $0 }).map { ($0.name, $0) }
    ) { first, _ in first }
    let type = try model.tensor(first.text).dtype
    let parts = try wanted.map { slot in
      let value = try (held[slot.name]?.value() ?? absent(slot.name.text, slot.shape)).to(type).to(device: .cpu)
      return weight.isStoredTransposed ? try value.transpose(0, 1).contiguous() : value
    }
    return weight.isPerExpert ? try Tensor.stack(parts, dim: 0) : parts.first
  }

  /// Of weights that are in no other process.
  public static func nobodyElse(_ name: String, _ shape: [Int]) throws -> Tensor {
    throw ModelError("\(name) is not here")
  }

  /// A weight outside the layers.
  func outer(_ weight: Weight) throws -> Parameter {
    guard let found = outside[weight] else {
      throw ModelError("the weight \(weight.name) is not among those that are trained")
    }
    return found
  }

  /// More to be learned with it, which is no part of the checkpoint.
  func add(_ further: [Parameter]) {
    numbers += further.indices.map { slots.count + $0 }
    slots += further.map { ParameterSlot(name: $0.name, shape: $0.shape) }
    parameters += further
  }

  /// The head's weight: the embedding where they are tied.
  func head() throws -> Parameter { try outer(description.head ?? description.embedding) }

  /// The head as it is computed with; the same until weights change.
  func headMatrix() throws -> Tensor { try copy(head()) }

  /// A parameter as it is computed with; of those outside the layers the same until weights change.
  func copy(_ parameter: Parameter) throws -> Tensor {
    let weight = parameter.name.weight
    if parameter.name.layer == nil, let copy = outerCopies[weight] { return copy }
    let made = weight.computesInFloat32 ? try parameter.value() : try parameter.value().to(dtype)
    if parameter.name.layer == nil { outerCopies[weight] = made }
    return made
  }

  /// A layer's weights as they are computed with; the same until weights change.
  func weights(layer: Int) throws -> LayerWeights {
    if let copy = copies[layer] { return copy }
    let made = try Self.collect(layers[layer].map { ($0.name, try copy($0)) })
    // Where the type is float32 they are what is on disk.
    if dtype != .float32 || !layers[layer].contains(where: \.isOnDisk) { copies[layer] = made }
    return made
  }

  /// The weights of the final norm.
  func finalNorm() throws -> [Parameter] { try description.finalNorm.weights.map(outer) }

  /// What blocks take, made of tensors by name.
  static func collect(_ tensors: [(name: Parameter.Name, tensor: Tensor)]) -> LayerWeights {
    var whole: [Weight: Tensor] = [:]
    var experts: [Weight: [Tensor]] = [:]
    for (name, tensor) in tensors {
      if name.expert == nil { whole[name.weight] = tensor } else { experts[name.weight, default: []].append(tensor) }
    }
    return LayerWeights(whole, experts: experts)
  }

  /// Weights have changed.
  func dropCopies() { (copies, outerCopies) = ([:], [:]) }

  /// What goes into the first layer: `[B, S]` → `[B, S, H]`.
  ///
  /// - Parameter places: positions of the tokens, `[S]` int64; nil where they follow one another from 0 on.
  func embed(_ tokens: Tensor, places: Tensor?) throws -> Tensor {
    var rows = try Tensor.embedding(weight: embeddingTable(), indices: tokens).to(dtype)
    if let factor = try embeddingFactor() { rows = try rows.multiplied(by: factor) }
    if let positions = description.positions {
      let table = try copy(outer(positions))
      let needed = try places.map { Int(try $0.amax().item()) + 1 } ?? tokens.shape[1]
      guard needed <= table.shape[0] else {
        throw ModelError("the model has positions for \(table.shape[0]) tokens; a row has \(needed)")
      }
      let own = try places.map { try table.indexSelect(dim: 0, $0) } ?? table.narrow(dim: 0, start: 0, length: needed)
      rows = try rows.adding(own.to(dtype))
    }
    return try description.embeddingNorm?.forward(rows, weights: LayerWeights([:])) ?? rows
  }

  /// Adds what the loss changes by per element of what went into the first layer.
  ///
  /// - Parameters:
  ///   - slope: `[B, S, H]`.
  ///   - tokens: `[B, S]`.
  ///   - places: positions of the tokens, `[S]` int64; nil where they follow one another from 0 on.
  func addEmbeddingGradient(_ slope: Tensor, tokens: Tensor, places: Tensor?) throws {
    var slope = slope
    if let norm = description.embeddingNorm {
      slope = try LibTorch.recording {
        let rows = try Tensor.embedding(weight: embeddingTable(), indices: tokens).to(dtype)
          .leaf(wantsGradient: true)
        let normed = try norm.forward(rows, weights: LayerWeights([:]))
        return try Tensor.gradients(of: [normed], given: [slope], by: [rows])[0] ?? slope
      }
    }
    if let positions = description.positions {
      let sum = try slope.sum(dims: [0], dtype: .float32)
      try outer(positions).addToGradient { gradient in
        if let places { return try gradient.indexAdd(dim: 0, index: places, source: sum) }
        try gradient.narrow(dim: 0, start: 0, length: slope.shape[1]).add(sum)
      }
    }
    if let factor = try embeddingFactor() { slope = try slope.multiplied(by: factor) }
    let flat = try slope.reshape([-1, slope.shape[2]]).to(.float32)
    try outer(description.embedding).addToGradient {
      try $0.indexAdd(dim: 0, index: tokens.reshape([-1]), source: flat)
    }
  }

  /// In one of two types, with the same rows in the type computed with.
  private func embeddingTable() throws -> Tensor {
    let table = try outer(description.embedding)
    return try table.isOnDisk ? copy(table) : table.value()
  }

  private func embeddingFactor() throws -> Tensor? {
    try description.scales.embeddingFactor(description.sizes, dtype: dtype)?.to(device: device)
  }
}
