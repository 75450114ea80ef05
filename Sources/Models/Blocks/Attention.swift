public import Torch

// Shapes: B rows, S tokens, H hidden, N heads, K key-value heads, D head_dim.

/// Grouped-query attention with rotary positions (Ainslie et al. 2023, arXiv 2305.13245), optional biases, norms
/// of queries and keys, a sliding window (Mistral), soft-capped scores (Gemma 2), sinks (gpt-oss). Tap: the input of the output projection.
public struct Attention: Block {
  /// How queries, keys and values are projected.
  public enum Layout: Sendable {
    /// `q_proj`, `k_proj`, `v_proj`.
    case separate
    /// One projection of this name: all queries, then all keys, then all values (Phi-3).
    case stacked(String)
    /// One projection of this name, head after head: its query, key and value (GPT-NeoX; as many of each).
    case interleaved(String)
  }

  /// What the norms of queries and keys run over.
  public enum NormSpan: Sendable {
    /// Each head on its own (Qwen3).
    case head
    /// All heads together (OLMo 2).
    case projection
  }

  /// The input of the output projection.
  private static let tap = Tap(.heads * .headDim, "input of the attention's output projection")

  private let layout: Layout
  private let inputs: [Linear]
  private let output: Linear
  private let queryNorm: Norm?, keyNorm: Norm?
  private let normSpan: NormSpan
  private let headDim: Int
  /// nil for layers without positions.
  private let rotary: Rotary?
  /// Positions a token sees, itself included; nil for all before it.
  private let window: Int?
  /// The factor on scores before softmax.
  private let scale: Double
  /// The query projection also gives a gate for each channel, head by head: outputs × sigmoid(gate) (Qwen3-Next).
  private let isGated: Bool
  /// A learned score for each head that takes part in softmax and gives nothing (gpt-oss).
  private let sinks: Weight?
  /// Scores pass through `softcap × tanh(score / softcap)`; nil for none.
  private let softcap: Double?

  /// - Parameters:
  ///   - normEpsilon: of the norms of queries and keys; nil for no norms.
  ///   - scale: nil for 1 / √head_dim.
  ///   - outputName: the output projection's name, after the prefix.
  ///   - softcap: of scores; nil for none.
  ///   - normKind: of those norms.
  ///   - headDim: channels of a head.
  ///   - window: positions a token sees, itself included; nil for all before it.
  ///   - outputBias: whether the output projection has a bias.
  ///   - layout: how its weights are stored.
  ///   - prefix: what its weights' names begin with.
  ///   - sinks: whether each head has a learned score that takes part in softmax.
  ///   - isGated: whether the query projection also gives a gate for each channel.
  ///   - normSpan: what they run over.
  ///   - rotary: its positions; nil for layers without.
  ///   - qkvBias: whether the projections of queries, keys and values have biases.
  public init(
    _ prefix: String, headDim: Int, rotary: Rotary?, qkvBias: Bool = false, outputBias: Bool = false,
    normEpsilon: Double? = nil, normKind: Norm.Kind = .rms, normSpan: NormSpan = .head, window: Int? = nil,
    scale: Double? = nil, softcap: Double? = nil, sinks: Bool = false, layout: Layout = .separate,
    outputName: String = "o_proj", isGated: Bool = false
  ) {
    let heads = Axis.heads * .headDim
    let kvHeads = Axis.kvHeads * .headDim
    func input(_ name: String, _ axis: Axis) -> Linear { Linear(prefix + "." + name, [axis, .hidden], bias: qkvBias) }
    self.layout = layout
    switch layout {
    case .separate:
      let queries = isGated ? .heads * 2 * .headDim : heads
      inputs = [input("q_proj", queries), input("k_proj", kvHeads), input("v_proj", kvHeads)]
    case .stacked(let name): inputs = [input(name, heads + kvHeads + kvHeads)]
    case .interleaved(let name): inputs = [input(name, .heads * 3 * .headDim)]
    }
    output = Linear(prefix + "." + outputName, [.hidden, heads], bias: outputBias)
    func norm(_ name: String, _ all: Axis) -> Norm? {
      normEpsilon.map {
        Norm(prefix + name, over: normSpan == .head ? .headDim : all, epsilon: $0, kind: normKind)
      }
    }
    queryNorm = norm(".q_norm", heads)
    keyNorm = norm(".k_norm", kvHeads)
    self.normSpan = normSpan
    self.headDim = headDim
    self.rotary = rotary
    self.window = window
    self.scale = scale ?? 1 / Double(headDim).squareRoot()
    self.softcap = softcap
    self.isGated = isGated
    self.sinks = sinks ? Weight(prefix + ".sinks", [.heads]) : nil
  }

  public var weights: [Weight] {
    inputs.flatMap(\.weights) + output.weights + (queryNorm?.weights ?? []) + (keyNorm?.weights ?? [])
      + (sinks.map { [$0] } ?? [])
  }

  public var taps: [Tap] { [Self.tap] }
  public var cachesTokens: Bool { true }
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    2 * rows * tokens * sizes[.kvHeads] * sizes[.headDim]
  }

  /// Scores and sums over the causal half of each row.
  public func operations(rows: [Int], sizes: Sizes) -> Double {
    let inner = Double(sizes[.heads] * sizes[.headDim])
    return rows.reduce(productOperations(rows: rows, sizes: sizes)) { $0 + 2 * inner * Double($1) * Double($1) }
  }

  public var jointProjections: [[Linear]] { if case .separate = layout { [inputs] } else { [] } }

  public var mixing: TokenMixing { .sequences(sharing: rotary?.uniformLength ?? .max) }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    // Queries: of all tokens, or of those that are wanted of a packed row.
    let trimming = context.packed.flatMap { $0.lastTokensOnly ? $0 : nil }
    let asking = try trimming?.trim(x) ?? x
    let (queries, keys, values, gate) = try project(x, asking: asking, weights: weights, trimming, context)
    // Heads are left where the projections put them: [B, S, N or K, D].
    func place(_ y: Tensor, _ norm: Norm?, _ positions: Positions, turns: Bool = true) throws -> Tensor {
      var y = y
      if let norm, normSpan == .projection { y = try norm.forward(y, weights: weights) }
      y = try y.reshape([y.shape[0], y.shape[1], -1, headDim])
      guard turns, let rotary else {
        return try norm.map { normSpan == .head ? try $0.forward(y, weights: weights) : y } ?? y
      }
      guard let norm, normSpan == .head else { return try positions.rotate(y, rotary) }
      if case .rms = norm.kind {
        return try positions.rotate(y, rotary, norm: (weights[norm.weight], norm.epsilon))
      }
      return try positions.rotate(norm.forward(y, weights: weights), rotary)
    }
    let q = try place(queries, queryNorm, trimming?.wantedPositions ?? context.positions)
    var k = try place(keys, keyNorm, context.positions)
    var v = try place(values, nil, context.positions, turns: false)
    if let cache = context.cache { (k, v) = try cache.append(key: k, value: v, layer: context.layer, tokenAxis: 1) }
    if let packed = context.packed { (k, v) = try packed.join(key: k, value: v) }

    let packing = context.packed?.packing
    let attended = try Tensor.fusedAttention(
      query: q, key: k, value: v, sinks: sinks.map { try weights[$0] },
      segments: trimming == nil ? packing?.segments : packing?.wantedSegments, window: window, scale: scale,
      softcap: softcap)
    var joined = try attended.reshape([asking.shape[0], asking.shape[1], -1])
    if let gate { joined = try joined.multiplied(by: gate.sigmoid()) }
    try context.observe(Self.tap, joined)
    return try output.forward(joined, weights: weights, context: context)
  }

  /// Queries `[B, S, N × D]` of the tokens that ask, keys and values `[B, S, K × D]` of all, gates like queries.
  private func project(
    _ x: Tensor, asking: Tensor, weights: LayerWeights, _ trimming: PackedContext?, _ context: ForwardContext
  ) throws -> (Tensor, Tensor, Tensor, gate: Tensor?) {
    func flat(_ part: Tensor) throws -> Tensor { try part.reshape([part.shape[0], part.shape[1], -1]) }
    func asked(_ queries: Tensor) throws -> Tensor { try trimming?.trim(queries) ?? queries }
    /// Parts of each head, head after head.
    func split(_ projected: Tensor, _ parts: Int) throws -> [Tensor] {
      try projected.reshape([projected.shape[0], projected.shape[1], -1, parts * headDim]).chunk(parts, dim: 3).map(
        flat)
    }
    switch layout {
    case .separate:
      // Where few tokens ask, theirs are the only queries that are worth computing.
      let all = trimming == nil ? try weights.project(x, inputs, context: context) : nil
      let queries = try all?[0] ?? inputs[0].forward(asking, weights: weights, context: context)
      let keys = try all?[1] ?? inputs[1].forward(x, weights: weights, context: context)
      let values = try all?[2] ?? inputs[2].forward(x, weights: weights, context: context)
      guard isGated else { return (queries, keys, values, nil) }
      let parts = try split(queries, 2)
      return (parts[0], keys, values, parts[1])
    case .stacked:
      let projected = try inputs[0].forward(x, weights: weights, context: context)
      // The number of remaining heads follows from the output projection's input width.
      let heads = try weights[output.weight].shape[1]
      let rest = (projected.shape[2] - heads) / 2
      let parts = try projected.split([heads, rest, rest], dim: 2)
      return (try asked(parts[0]), parts[1], parts[2], nil)
    case .interleaved:
      let parts = try split(inputs[0].forward(x, weights: weights, context: context), 3)
      return (try asked(parts[0]), parts[1], parts[2], nil)
    }
  }
}
