import Dispatch
public import Models
public import Torch

/// Brings weights in, layer by layer, in the type computed with, and lets them go.
public final class WeightSource {
  public let model: SourceModel
  public let dtype: DType
  public let device: Device
  /// The basis that selections are cut in where they cut hidden_size; nil for the channels as they are.
  public private(set) var rotated: RotatedWeights?
  private let reader = DispatchQueue(label: "coppice.prefetch", qos: .userInitiated)
  /// The next layer on its way to an accelerator.
  private var coming: ComingLayer?
  /// Layers that an accelerator keeps from walk to walk.
  private var resident = ResidentLayers(room: 0)

  public init(_ model: SourceModel, dtype: DType, device: Device = .cpu) {
    self.model = model
    self.dtype = dtype
    self.device = device
  }

  /// From now on an accelerator keeps layers from walk to walk, the first of them, as many as take so many bytes: for models that
  /// are walked again and again.
  public func keepOnDevice(bytes: Int) {
    if device != .cpu { resident = ResidentLayers(room: bytes) }
  }

  /// Selections that cut hidden_size keep the first directions of this basis from now on.
  public func rotate(by rotation: Rotation) throws {
    rotated = try RotatedWeights(model, rotation, device: device)
  }

  package func names(layer: Int) -> [String] {
    let sizes = model.description.sizes(inLayer: layer)
    return model.description.layers[layer].weights.flatMap { $0.tensors(layer: layer, sizes: sizes).map(\.name) }
  }

  /// Bytes of these layers in the file.
  public func storedBytes(layers: some Sequence<Int>) -> Int {
    layers.reduce(0) { $0 + names(layer: $1).reduce(0) { $0 + (model.checkpoint.entry($1)?.range.count ?? 0) } }
  }

  /// Whether a weight keeps its stored type until it is multiplied: products widen it slice by slice, or once when it is
  /// repacked.
  private func isKeptAsStored(_ weight: Weight, of layer: LayerDescription) -> Bool {
    guard device == .cpu, dtype == .float32, !weight.computesInFloat32 else { return false }
    // Biases of experts have two axes.
    return weight.isProjection
      || (weight.axes.count == 3 && layer.sublayers.contains { $0.block.expertWeights.contains(weight) })
  }

  /// A tensor of the checkpoint in the type computed with.
  func tensor(_ name: String, computesInFloat32: Bool = false) throws -> Tensor {
    try model.tensor(name).to(computesInFloat32 ? .float32 : dtype).to(device: device)
  }

  /// As weights are multiplied: `[out, in]`, however the file has them.
  private func upright(_ tensor: Tensor, _ weight: Weight) throws -> Tensor {
    weight.isStoredTransposed ? try tensor.transpose(0, 1).contiguous() : tensor
  }

  /// One layer's weights, whole.
  public func layer(_ layer: Int) throws -> LayerWeights {
    if let kept = resident[layer] { return kept }
    let arrived = coming?.layer == layer ? try coming?.wait() : nil
    coming = nil
    let description = model.description.layers[layer]
    func tensor(_ name: String, of weight: Weight) throws -> Tensor {
      if isKeptAsStored(weight, of: description) { return try upright(model.tensor(name), weight) }
      // Copies are converted on the accelerator.
      let copy =
        try arrived?[name]?.receive().to(weight.computesInFloat32 ? .float32 : dtype)
        ?? self.tensor(name, computesInFloat32: weight.computesInFloat32)
      return try upright(copy, weight)
    }
    let whole = try collect(layer) { try tensor($0, of: $1) }
    resident.keep(layer, whole)
    return whole
  }

  /// The same in the rotated basis, all directions of it.
  func rotatedLayer(_ layer: Int, _ rotated: RotatedWeights) throws -> LayerWeights {
    coming = nil
    let description = model.description.layers[layer]
    func tensor(_ name: String, of weight: Weight) throws -> Tensor {
      let turned = try rotated.turned(
        model.tensor(name), of: weight, layer: layer, dropped: weight.isPerExpert ? 1 : 0,
        keeping: rotated.rotation.hidden)
      if isKeptAsStored(weight, of: description) { return turned }
      return try turned.to(weight.computesInFloat32 ? .float32 : dtype).to(device: device)
    }
    return try collect(layer) { try tensor($0, of: $1) }
  }

  /// A layer's weights, each made of its tensors.
  private func collect(_ layer: Int, _ tensor: (String, Weight) throws -> Tensor) throws -> LayerWeights {
    var tensors: [Weight: Tensor] = [:]
    var experts: [Weight: [Tensor]] = [:]
    let sizes = model.description.sizes(inLayer: layer)
    for weight in model.description.layers[layer].weights {
      let stored = try weight.tensors(layer: layer, sizes: sizes).map { try tensor($0.name, weight) }
      if weight.isPerExpert { experts[weight] = stored } else { tensors[weight] = stored.first }
    }
    return LayerWeights(tensors, experts: experts)
  }

  /// Weights as a selection has them: the indices that it keeps, and in a rotated basis the constants of norms that belong
  /// to so many directions.
  ///
  /// - Parameters:
  ///   - whole: in the selection's basis.
  ///   - layer: 0-based; nil outside the layers.
  func cut(_ whole: LayerWeights, to selection: Selection, layer: Int?) throws -> LayerWeights {
    let sliced = try whole.sliced(by: selection, layer: layer, sizes: model.description.sizes(inLayer: layer))
    guard let rotated, let count = try selection.keptDirections() else { return sliced }
    return try sliced.mapping { weight, tensor in
      guard case .constant = model.description.rotationRole(of: weight, layer: layer) else { return tensor }
      // Rounded as it is stored.
      let stored = try model.tensor(weight.name(layer: layer))
      return try rotated.turned(stored, of: weight, layer: layer, keeping: count).to(tensor.dtype).to(device: device)
    }
  }

  /// The basis that a selection is cut in; nil for the channels.
  func rotation(for selection: Selection) -> RotatedWeights? {
    selection.kept(.hidden, layer: nil) == nil ? nil : rotated
  }

  /// A layer's weights as a selection has them, as those of a walk.
  public func layer(_ layer: Int, of selection: Selection) throws -> LayerWeights {
    try cut(self.layer(layer, for: selection), to: selection, layer: layer)
  }

  /// A weight outside the layers as a selection has it, in the type it is stored in, on the CPU.
  public func outer(_ weight: Weight, of selection: Selection) throws -> Tensor {
    let whole = try model.tensor(weight.name)
    if let rotated, let count = try selection.keptDirections() {
      return try rotated.turned(whole, of: weight, layer: nil, keeping: count).to(device: .cpu)
    }
    return try LayerWeights([weight: whole])
      .sliced(by: selection, layer: nil, sizes: model.description.sizes)[weight]
  }

  /// The final norm's weights as a selection has them, and the head where it is not the embedding, in the types they are stored in.
  public func outside(_ selection: Selection) throws -> LayerWeights {
    let weights = model.description.finalNorm.weights + (model.description.head.map { [$0] } ?? [])
    return LayerWeights(try Dictionary(uniqueKeysWithValues: weights.map { ($0, try outer($0, of: selection)) }))
  }

  /// Has a layer read while others are computed.
  public func prefetch(layer: Int) {
    guard model.description.layers.indices.contains(layer), resident[layer] == nil else { return }
    let names = names(layer: layer)
    if case .cuda = device {
      coming = ComingLayer(layer, names, of: model, to: device, on: reader)
    } else {
      reader.async { [checkpoint = model.checkpoint] in checkpoint.willNeed(names) }
    }
  }

  /// Gives back the mapped pages of a layer and of the one before: the system maps pages around those that are read, so the
  /// first reads of a layer bring back the end of the one before.
  public func release(layer: Int) {
    for layer in max(layer - 1, 0)...max(layer, 0) { model.checkpoint.release(names(layer: layer)) }
    if let inputs = model.description.layerInputs {
      model.checkpoint.release(inputs.weights.map(\.name))
      releaseEmbedding()
    }
  }

  /// Gives one weight's mapped pages back.
  func release(_ weight: Weight, layer: Int) {
    model.checkpoint.release(weight.tensors(layer: layer, sizes: model.description.sizes(inLayer: layer)).map(\.name))
  }

  /// The embedding's rows of these tokens, scaled where the family does: `[B, S]` → `[B, S, H]`. Only the pages of these rows are read.
  ///
  /// - Parameter directions: of a rotated basis, how many of its directions; nil for the channels.
  private func embed(_ tokens: Tensor, directions: Int? = nil) throws -> Tensor {
    let description = model.description
    let stored: Tensor
    if let directions, let rotated {
      stored = try rotated.embedding(of: tokens, keeping: directions)
    } else {
      stored = try Tensor.embedding(weight: model.tensor(description.embedding.name), indices: tokens)
    }
    let rows = try stored.to(dtype).to(device: device)
    guard let factor = try description.scales.embeddingFactor(description.sizes, dtype: dtype) else { return rows }
    return try rows.multiplied(by: factor.to(device: device))
  }

  /// What goes into the first layer for a subject, of whose channels, or of the rotated basis as many directions, these are
  /// kept; nil for all.
  ///
  /// - Parameters:
  ///   - tokens: `[B, S]`.
  ///   - places: each token's position in its sequence, S numbers that hold for all rows.
  func embed(_ tokens: Tensor, places: @autoclosure () -> [Int], keeping kept: [Int]? = nil) throws -> Tensor {
    if rotated != nil { return try embed(tokens, directions: kept?.count) }
    var embedded = try embed(tokens)
    if let positions = model.description.positions {
      embedded = try embedded.adding(learned(positions, places()))
    }
    if let kept {
      embedded = try embedded.indexSelect(dim: 2, Tensor(kept.map(Int64.init), shape: [kept.count]).to(device: device))
    }
    return try model.description.embeddingNorm?.forward(embedded, weights: LayerWeights([:])) ?? embedded
  }

  /// What a layer gets of each token besides the residual stream, for a subject, of whose channels these are kept: computed when it
  /// is asked for. nil for models whose layers get nothing.
  ///
  /// - Parameters:
  ///   - tokens: `[B, S]`.
  ///   - layer: 0-based.
  ///   - kept: channels; nil for all.
  func layerInput(
    _ tokens: @escaping @autoclosure () throws -> Tensor, layer: Int, keeping kept: [Int]?
  ) -> (() throws -> Tensor)? {
    guard let inputs = model.description.layerInputs else { return nil }
    return { [self] in
      let tokens = try tokens()
      let embedded = try embed(tokens, places: [], keeping: kept)
      return try inputs.input(tokens, embedded: embedded, keeping: kept, layer: layer) { try model.tensor($0.name) }
    }
  }

  /// Rows of a table of learned positions, `[S, H]`.
  private func learned(_ positions: Weight, _ places: [Int]) throws -> Tensor {
    let table = try model.tensor(positions.name)
    if let place = places.max(), place >= table.shape[0] {
      throw ModelError(
        "\(model.checkpoint.directory): the model has positions for \(table.shape[0]) tokens; a sequence of "
          + "\(place + 1) is too long")
    }
    let rows = try Tensor.embedding(weight: table, indices: Tensor(places.map(Int64.init), shape: [places.count]))
    return try rows.to(dtype).to(device: device)
  }

  /// One layer's weights, whole, in the basis that a selection is cut in.
  func layer(_ layer: Int, for selection: Selection) throws -> LayerWeights {
    try rotation(for: selection).map { try rotatedLayer(layer, $0) } ?? self.layer(layer)
  }

  func releaseEmbedding() { model.checkpoint.release([model.description.embedding.name]) }

  /// Lets go of the head, be it the embedding or its own.
  func releaseHead() { model.checkpoint.release([(model.description.head ?? model.description.embedding).name]) }
}
