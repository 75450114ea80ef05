public import Torch

// Shapes: B rows, S tokens, H hidden, L layers, P channels of a layer's input, V rows of the table.

/// What each layer gets of each token besides the residual stream (per-layer embeddings; `transformers` modeling_gemma4.py):
/// `(norm(projection(embedding)) + table[token] × √P) / √2`, the projection and the table with a part for each layer.
///
/// It is computed layer by layer from the tokens: of the table only the rows that occur are read.
public struct LayerInputs: Sendable {
  /// `[V, L × P]`.
  public let table: Weight
  /// `[L × P, H]`.
  public let projection: Weight
  /// Over P.
  public let norm: Norm
  /// The factor on what the projection gives.
  private let projectionScale: Double

  /// - Parameters:
  ///   - prefix: what its weights' names begin with.
  ///   - hidden: the model's hidden_size.
  ///   - epsilon: of the norm.
  init(_ prefix: String, hidden: Int, epsilon: Double) {
    table = Weight(prefix + "embed_tokens_per_layer.weight", [Axis(.layerInputVocabulary), .layers * .layerInput])
    projection = Weight(prefix + "per_layer_model_projection.weight", [.layers * .layerInput, .hidden])
    norm = Norm(prefix + "per_layer_projection_norm", over: .layerInput, epsilon: epsilon, kind: .rmsWide)
    projectionScale = 1 / Double(hidden).squareRoot()
  }

  public var weights: [Weight] { [table, projection] + norm.weights }

  /// What a layer gets.
  ///
  /// - Parameters:
  ///   - tokens: `[B, S]` int64.
  ///   - embedded: their embeddings as they go into the first layer, `[B, S, H]`: of the channels that are kept.
  ///   - kept: those channels' numbers; nil for all.
  ///   - layer: 0-based.
  ///   - tensor: a weight, whole, in the type that it is stored in.
  /// - Returns: `[B, S, P]`.
  public func input(
    _ tokens: Tensor, embedded: Tensor, keeping kept: [Int]?, layer: Int, _ tensor: (Weight) throws -> Tensor
  ) throws -> Tensor {
    guard let gain = norm.weight else { throw ModelError("the norm of the layers' inputs has no weight") }
    let weight = try tensor(gain)
    let width = weight.shape[0]
    func placed(_ x: Tensor) throws -> Tensor { try x.to(embedded.dtype).to(device: embedded.device) }
    let indices = try kept.map { try Tensor($0.map(Int64.init), shape: [$0.count]) }
    var matrix = try part(ofProjection: tensor(projection), layer: layer, width: width)
    if let indices { matrix = try matrix.indexSelect(dim: 1, indices) }
    let rows = try part(ofTable: tensor(table), layer: layer, width: width)
    return try input(
      rows: placed(Tensor.embedding(weight: rows, indices: tokens)), embedded: embedded, matrix: placed(matrix),
      gain: placed(weight))
  }

  /// A layer's columns of the table: `[V, P]`.
  public func part(ofTable table: Tensor, layer: Int, width: Int) throws -> Tensor {
    try table.narrow(dim: 1, start: layer * width, length: width)
  }

  /// A layer's rows of the projection: `[P, H]`.
  public func part(ofProjection projection: Tensor, layer: Int, width: Int) throws -> Tensor {
    try projection.narrow(dim: 0, start: layer * width, length: width)
  }

  /// The same from a layer's parts, all of one type.
  ///
  /// - Parameters:
  ///   - rows: of the table, `[B, S, P]`.
  ///   - embedded: `[B, S, H]`.
  ///   - matrix: of the projection, `[P, H]`.
  ///   - gain: of the norm, `[P]`.
  /// - Returns: `[B, S, P]`.
  public func input(rows: Tensor, embedded: Tensor, matrix: Tensor, gain: Tensor) throws -> Tensor {
    guard let name = norm.weight else { throw ModelError("the norm of the layers' inputs has no weight") }
    let context = try embedded.linear(weight: matrix).multiplied(by: projectionScale)
    let normed = try norm.forward(context, weights: LayerWeights([name: gain]))
    // The factor is rounded to the type computed with, as that of the embeddings.
    let scale = try Tensor([Float(Double(gain.shape[0]).squareRoot())], shape: [1]).to(embedded.dtype)
      .to(device: embedded.device)
    return try normed.adding(rows.multiplied(by: scale)).multiplied(by: 0.5.squareRoot())
  }
}

/// A branch that lets the layer's own input of each token in: `project(act(gate(h)) × input)`.
public struct LayerInputGate: Block {
  private let gate: Linear, projection: Linear
  private let activation: Activation

  /// - Parameters:
  ///   - prefix: what its weights' names begin with.
  ///   - activation: the nonlinearity.
  public init(_ prefix: String, activation: Activation) {
    gate = Linear(prefix + ".per_layer_input_gate", [.layerInput, .hidden])
    projection = Linear(prefix + ".per_layer_projection", [.hidden, .layerInput])
    self.activation = activation
  }

  public var weights: [Weight] { gate.weights + projection.weights }
  public var mixing: TokenMixing { .none }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    guard let input = try context.layerInput?() else {
      throw ModelError("layer \(context.layer + 1) was not given its own input of each token")
    }
    let gated = try activation(gate.forward(x, weights: weights, context: context), times: input)
    return try projection.forward(gated, weights: weights, context: context)
  }
}
