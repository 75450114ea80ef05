import Checkpoint
import Execution
public import Models
public import Torch

// Shapes: B rows, S tokens, H hidden, V vocabulary.

/// A model in memory whose weights change: float32 weights, and copies of them in the type computed with.
public final class TrainedModel {
  public let model: SourceModel
  /// The type computed with.
  public let dtype: DType
  /// Every tensor, in the order of the checkpoint: embedding, layers, what follows.
  public private(set) var parameters: [Parameter] = []
  private var byName: [Parameter.Name: Parameter] = [:]
  /// Copies in the type computed with, until the weights change.
  private var copies: [Int?: LayerWeights] = [:]

  public var description: ModelDescription { model.description }

  /// - Parameters:
  ///   - dtype: the type computed with.
  ///   - model: the checkpoint, which is read whole.
  /// - Throws: `ModelError` for a model that cannot be trained here, what reading it throws.
  public init(_ model: SourceModel, dtype: DType) throws {
    self.model = model
    self.dtype = dtype
    if let reason = Self.obstacle(model) { throw ModelError("\(model.checkpoint.directory): \(reason)") }
    let source = WeightSource(model, dtype: .float32)
    func add(_ weight: Weight, _ layer: Int?, _ expert: Int?, _ tensor: Tensor) throws {
      // Mapped memory is not ours to change.
      let own = tensor.dtype == .float32 ? try tensor.clone() : try tensor.to(.float32)
      let parameter = Parameter(.init(weight: weight, layer: layer, expert: expert), value: own)
      parameters.append(parameter)
      byName[parameter.name] = parameter
    }
    let outer = description.outerWeights.filter { !description.others.contains($0) }
    func addOuter(_ weights: some Sequence<Weight>) throws {
      for weight in weights { try add(weight, nil, nil, model.tensor(weight.name)) }
    }
    try addOuter(outer.prefix(1))
    for layer in description.layers.indices {
      let whole = try source.layer(layer)
      for weight in description.layers[layer].weights {
        if weight.isPerExpert {
          for (expert, tensor) in (whole.allExperts[weight] ?? []).enumerated() {
            try add(weight, layer, expert, tensor)
          }
        } else {
          try add(weight, layer, nil, whole[weight])
        }
      }
      source.release(layer: layer)
    }
    try addOuter(outer.dropFirst())
  }

  /// Why a model cannot be trained; nil where it can.
  public static func obstacle(_ model: SourceModel) -> String? {
    let description = model.description
    if !model.carriedTensors.isEmpty || !description.others.isEmpty {
      return "a model with a vision tower is not trained here; distil the language model alone"
    }
    if description.layerInputs != nil { return "tables that each layer reads for itself are not trained here" }
    if description.keepsPrediction { return "modules that predict further tokens are not trained here" }
    return nil
  }

  /// About the bytes that one micro-batch's activations take where all of them are kept: what projections give, and as much
  /// again of each.
  ///
  /// - Parameters:
  ///   - tokens: of the micro-batch.
  ///   - elementSize: bytes of a number computed with.
  public static func recordBytes(_ description: ModelDescription, tokens: Int, elementSize: Int) -> Int {
    let sizes = description.sizes
    let elements = description.layers.reduce(0) { sum, layer in
      layer.sublayers.reduce(sum + 2 * sizes[.hidden]) { sum, sublayer in
        let block = sublayer.block
        let given = block.weights.filter(\.isProjection).reduce(0) { $0 + ($1.axes.first?.size(sizes) ?? 0) }
        let routed = block.expertsPerToken * (2 * sizes[.hidden] + 4 * sizes[.moeFFN])
        return sum + 2 * given + routed + 2 * sizes[.hidden]
      }
    }
    return tokens * elements * elementSize
  }

  /// A weight as the checkpoint stores it, in its type; of one with a tensor for each expert all of them, stacked.
  public func stored(_ weight: Weight, layer: Int?) throws -> Tensor? {
    func turned(_ tensor: Tensor) throws -> Tensor {
      weight.isStoredTransposed ? try tensor.transpose(0, 1).contiguous() : tensor
    }
    let experts = weight.isPerExpert ? weight.axes.first?.size(description.sizes) ?? 0 : 0
    let names = weight.isPerExpert ? (0..<experts).map { Optional($0) } : [nil]
    let own = names.compactMap { byName[.init(weight: weight, layer: layer, expert: $0)] }
    guard own.count == names.count, let first = own.first else { return nil }
    let type = try model.tensor(first.name.text).dtype
    let parts = try own.map { try turned($0.value).to(type) }
    return weight.isPerExpert ? try Tensor.stack(parts, dim: 0) : parts.first
  }

  /// A weight outside the layers.
  func outer(_ weight: Weight) throws -> Parameter {
    guard let found = byName[.init(weight: weight, layer: nil, expert: nil)] else {
      throw ModelError("the weight \(weight.name) is not among those that are trained")
    }
    return found
  }

  /// The head's weight: the embedding where they are tied.
  func head() throws -> Parameter { try outer(description.head ?? description.embedding) }

  /// The tensors of a layer, as its blocks name them.
  func parameters(layer: Int) throws -> [Parameter] {
    let sizes = description.sizes
    return try description.layers[layer].weights.flatMap { weight in
      let experts: [Int?] = weight.isPerExpert ? Array(0..<(weight.axes.first?.size(sizes) ?? 0)) : [nil]
      return try experts.map { expert in
        guard let found = byName[.init(weight: weight, layer: layer, expert: expert)] else {
          throw ModelError("the weight \(weight.name(layer: layer)) is not among those that are trained")
        }
        return found
      }
    }
  }

  /// A parameter as it is computed with.
  func copy(_ parameter: Parameter) throws -> Tensor {
    parameter.name.weight.computesInFloat32 ? parameter.value : try parameter.value.to(dtype)
  }

  /// A layer's weights as they are computed with; the same until weights change.
  func weights(layer: Int) throws -> LayerWeights {
    if let copy = copies[layer] { return copy }
    let made = try Self.collect(parameters(layer: layer).map { ($0.name, try copy($0)) })
    copies[layer] = made
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
  func dropCopies() { copies = [:] }

  /// What goes into the first layer: `[B, S]` → `[B, S, H]`.
  func embed(_ tokens: Tensor) throws -> Tensor {
    var rows = try Tensor.embedding(weight: outer(description.embedding).value, indices: tokens).to(dtype)
    if let scale = try embeddingScale() { rows = try rows.multiplied(by: scale) }
    if let positions = description.positions {
      let table = try outer(positions).value
      guard tokens.shape[1] <= table.shape[0] else {
        throw ModelError("the model has positions for \(table.shape[0]) tokens; a row has \(tokens.shape[1])")
      }
      rows = try rows.adding(table.narrow(dim: 0, start: 0, length: tokens.shape[1]).to(dtype))
    }
    return try description.embeddingNorm?.forward(rows, weights: LayerWeights([:])) ?? rows
  }

  /// Adds what the loss changes by per element of what went into the first layer.
  ///
  /// - Parameters:
  ///   - slope: `[B, S, H]`.
  ///   - tokens: `[B, S]`.
  func addEmbeddingGradient(_ slope: Tensor, tokens: Tensor) throws {
    var slope = slope
    if let norm = description.embeddingNorm {
      slope = try LibTorch.recording {
        let rows = try Tensor.embedding(weight: outer(description.embedding).value, indices: tokens).to(dtype)
          .leaf(wantsGradient: true)
        let normed = try norm.forward(rows, weights: LayerWeights([:]))
        return try Tensor.gradients(of: [normed], given: [slope], by: [rows])[0] ?? slope
      }
    }
    if let positions = description.positions {
      let rows = try outer(positions).gradientRows().narrow(dim: 0, start: 0, length: slope.shape[1])
      try rows.add(slope.sum(dims: [0], dtype: .float32))
    }
    if let scale = try embeddingScale() { slope = try slope.multiplied(by: scale) }
    let flat = try slope.reshape([-1, slope.shape[2]]).to(.float32)
    try outer(description.embedding).gradientRows().indexAdd(dim: 0, index: tokens.reshape([-1]), source: flat)
  }

  /// Rounded to the type computed with, as Gemma was trained.
  private func embeddingScale() throws -> Tensor? {
    try description.scales.embedding.map { try Tensor([Float($0(description.sizes))], shape: [1]).to(dtype) }
  }
}
