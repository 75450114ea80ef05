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
    /// Each head on its own, with a weight of its own for so many heads of queries and of keys (StableLM 2 12B).
    case own(queries: Int, keys: Int)
  }

  /// Where keys and values come from.
  public enum Keys: Sendable {
    /// Projections of each. Whether later layers read them as well is said.
    case own(isLent: Bool = false)
    /// One projection for both: values are what keys are before their norm (Gemma 4).
    case joint(isLent: Bool = false)
    /// Those of a layer (0-based) before this one.
    case borrowed(from: Int)

    var isLent: Bool {
      switch self {
      case .own(let isLent), .joint(let isLent): isLent
      case .borrowed: false
      }
    }
    var isBorrowed: Bool { if case .borrowed = self { true } else { false } }
  }

  /// The input of the output projection.
  private let tap: Tap
  private let keys: Keys
  /// Of the RMS norm without a weight over each head's values; nil for none.
  private let valueEpsilon: Double?
  /// Channels of keys, as of values.
  private let keyAxis: Axis

  private let layout: Layout
  private let inputs: [Linear]
  private let output: Linear
  private let queryNorm: HeadNorm?, keyNorm: HeadNorm?
  /// Whether queries and keys turn before they are normed (Hunyuan).
  private let normsTurned: Bool
  private let headDim: Int
  /// nil for layers without positions.
  private let rotary: Rotary?
  /// Positions a token sees, itself included; nil for all before it.
  private let window: Int?
  /// What a token sees is cut at multiples of so many positions; nil where it is not.
  private let chunks: AttentionChunks?
  /// The factor on scores before softmax.
  private let scale: Double
  /// The query projection also gives a gate for each channel, head by head: outputs × sigmoid(gate) (Qwen3-Next).
  private let isGated: Bool
  /// What queries are multiplied by besides, as their position grows (Ministral 3).
  private let growth: PositionGrowth?
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
  ///   - normBias: whether those norms have biases.
  ///   - normNames: the names of those norms, after the prefix.
  ///   - normsTurned: whether queries and keys turn before they are normed.
  ///   - growth: a factor on queries that grows with their position.
  ///   - isStoredTransposed: whether weights lie `[in, out]` in the file.
  ///   - headDim: channels of a head.
  ///   - window: positions a token sees, itself included; nil for all before it.
  ///   - chunk: positions of a chunk outside which a token sees nothing; nil for none.
  ///   - outputBias: whether the output projection has a bias.
  ///   - layout: how its weights are stored.
  ///   - prefix: what its weights' names begin with.
  ///   - sinks: whether each head has a learned score that takes part in softmax.
  ///   - isGated: whether the query projection also gives a gate for each channel.
  ///   - normSpan: what they run over.
  ///   - rotary: its positions; nil for layers without.
  ///   - qkvBias: whether the projections of queries, keys and values have biases.
  ///   - head: the dimension of a head's channels.
  ///   - keyHeads: that of the heads of keys and values.
  ///   - keys: where keys and values come from.
  ///   - valueEpsilon: of a norm without a weight over each head's values; nil for none.
  public init(
    _ prefix: String, headDim: Int, rotary: Rotary?, qkvBias: Bool = false, outputBias: Bool = false,
    normEpsilon: Double? = nil, normKind: Norm.Kind = .rms, normBias: Bool = false, normSpan: NormSpan = .head,
    normNames: (queries: String, keys: String) = ("q_norm", "k_norm"), normsTurned: Bool = false, window: Int? = nil,
    chunk: Int? = nil, scale: Double? = nil, softcap: Double? = nil, growth: PositionGrowth? = nil, sinks: Bool = false,
    layout: Layout = .separate, outputName: String = "o_proj", isGated: Bool = false, isStoredTransposed: Bool = false,
    head: Axis = .headDim, keyHeads: Axis = .kvHeads, keys: Keys = .own(), valueEpsilon: Double? = nil
  ) {
    let heads = Axis.heads * head
    let kvHeads = keyHeads * head
    tap = Tap(heads, "input of the attention's output projection")
    (self.keys, self.valueEpsilon, keyAxis) = (keys, valueEpsilon, kvHeads)
    func input(_ name: String, _ axis: Axis) -> Linear {
      Linear(prefix + "." + name, [axis, .hidden], bias: qkvBias, isStoredTransposed: isStoredTransposed)
    }
    self.layout = layout
    switch layout {
    case .separate:
      let queries = [input("q_proj", isGated ? .heads * 2 * head : heads)]
      switch keys {
      case .own: inputs = queries + [input("k_proj", kvHeads), input("v_proj", kvHeads)]
      case .joint: inputs = queries + [input("k_proj", kvHeads)]
      case .borrowed: inputs = queries
      }
    case .stacked(let name): inputs = [input(name, heads + kvHeads + kvHeads)]
    case .interleaved(let name): inputs = [input(name, .heads * 3 * head)]
    }
    output = Linear(
      prefix + "." + outputName, [.hidden, heads], bias: outputBias, isStoredTransposed: isStoredTransposed)
    func norm(_ name: String, _ all: Axis, _ count: (Int, Int) -> Int) -> HeadNorm? {
      normEpsilon.map { epsilon in
        func norm(_ name: String, _ axis: Axis) -> Norm {
          Norm(prefix + "." + name, over: axis, epsilon: epsilon, kind: normKind, bias: normBias)
        }
        switch normSpan {
        case .head: return .head(norm(name, head))
        case .projection: return .projection(norm(name, all))
        case .own(let queries, let keys):
          return .own((0..<count(queries, keys)).map { norm(name + ".norms.\($0)", head) })
        }
      }
    }
    queryNorm = norm(normNames.queries, heads) { queries, _ in queries }
    keyNorm = keys.isBorrowed ? nil : norm(normNames.keys, kvHeads) { _, keys in keys }
    self.normsTurned = normsTurned
    self.growth = growth
    self.headDim = headDim
    self.rotary = rotary
    self.window = window
    chunks = chunk.map { AttentionChunks(size: $0) }
    self.scale = scale ?? 1 / Double(headDim).squareRoot()
    self.softcap = softcap
    self.isGated = isGated
    self.sinks = sinks ? Weight(prefix + ".sinks", [.heads]) : nil
  }

  public var weights: [Weight] {
    inputs.flatMap(\.weights) + output.weights + (queryNorm?.weights ?? []) + (keyNorm?.weights ?? [])
      + (sinks.map { [$0] } ?? [])
  }

  public var taps: [Tap] { [tap] }
  public var cachesTokens: Bool { true }
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    keys.isBorrowed ? 0 : 2 * rows * tokens * keyAxis.size(sizes)
  }
  /// Here every layer keeps what it reads.
  public func steppedElements(tokens: Int, sizes: Sizes) -> Int { 2 * tokens * keyAxis.size(sizes) }

  public func cacheBytes(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    2 * cacheElements(rows: rows, tokens: min(tokens, window ?? chunks?.size ?? tokens), sizes: sizes)
  }

  /// Scores and sums over the causal half of each row.
  public func operations(rows: [Int], sizes: Sizes) -> Double {
    let inner = Double(tap.axis.size(sizes))
    return rows.reduce(productOperations(rows: rows, sizes: sizes)) { $0 + 2 * inner * Double($1) * Double($1) }
  }

  public var jointProjections: [[Linear]] { inputs.count > 1 ? [inputs] : [] }

  public var mixing: TokenMixing { .sequences(sharing: rotary?.uniformLength ?? .max) }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    // Queries: of all tokens, or of those that are wanted of a packed row.
    let trimming = context.packed.flatMap { $0.lastTokensOnly ? $0 : nil }
    let asking = try trimming?.trim(x) ?? x
    let (queries, keys, values, gate) = try project(x, asking: asking, weights: weights, trimming, context)
    // Heads are left where the projections put them: [B, S, N or K, D].
    func split(_ y: Tensor) throws -> Tensor { try y.reshape([y.shape[0], y.shape[1], -1, headDim]) }
    func place(_ y: Tensor, _ norm: HeadNorm?, _ positions: Positions) throws -> Tensor {
      if case .projection(let norm) = norm {
        let y = try split(norm.forward(y, weights: weights))
        return try rotary.map { try positions.rotate(y, $0) } ?? y
      }
      var y = try split(y)
      guard let rotary else { return try norm?.forward(y, weights: weights) ?? y }
      if case .head(let norm) = norm, case .rms = norm.kind, let weight = norm.weight, !normsTurned {
        return try positions.rotate(y, rotary, norm: (weights[weight], norm.epsilon))
      }
      if let norm, !normsTurned { y = try norm.forward(y, weights: weights) }
      y = try positions.rotate(y, rotary)
      return try normsTurned ? norm?.forward(y, weights: weights) ?? y : y
    }
    let asked = trimming?.wantedPositions ?? context.positions
    var q = try place(queries, queryNorm, asked)
    if let growth { q = try asked.scale(q, growth) }
    // Values first: keys are placed where they lie.
    var v = try split(values)
    if let valueEpsilon { v = try v.fusedRMSNorm(weight: nil, eps: valueEpsilon) }
    var k = try self.keys.isBorrowed ? split(keys) : place(keys, keyNorm, context.positions)
    if self.keys.isLent { try context.rides?.lend(key: flat(k), value: flat(v), layer: context.layer) }
    if let cache = context.cache { (k, v) = try cache.append(key: k, value: v, layer: context.layer, tokenAxis: 1) }
    if let packed = context.packed { (k, v) = try packed.join(key: k, value: v) }

    let packing = context.packed?.packing
    var segments = trimming == nil ? packing?.segments : packing?.wantedSegments
    if let chunks { segments = segments?.flatMap(chunks.split) }
    func attend(_ q: Tensor, _ k: Tensor, _ v: Tensor) throws -> Tensor {
      try Tensor.fusedAttention(
        query: q, key: k, value: v, sinks: sinks.map { try weights[$0] }, segments: segments, window: window,
        scale: scale, softcap: softcap)
    }
    let alone = segments == nil ? chunks : nil
    let attended = try alone?.attend(query: q, key: k, value: v, attend) ?? attend(q, k, v)
    var joined = try attended.reshape([asking.shape[0], asking.shape[1], -1])
    if let gate { joined = try joined.multiplied(by: gate.sigmoid()) }
    try context.observe(tap, joined)
    return try output.forward(joined, weights: weights, context: context)
  }

  /// `[B, S, N, D]` → `[B, S, N × D]`.
  private func flat(_ part: Tensor) throws -> Tensor { try part.reshape([part.shape[0], part.shape[1], -1]) }

  /// Queries `[B, S, N × D]` of the tokens that ask, keys and values `[B, S, K × D]` of all, gates like queries.
  private func project(
    _ x: Tensor, asking: Tensor, weights: LayerWeights, _ trimming: PackedContext?, _ context: ForwardContext
  ) throws -> (Tensor, Tensor, Tensor, gate: Tensor?) {
    func asked(_ queries: Tensor) throws -> Tensor { try trimming?.trim(queries) ?? queries }
    /// Parts of each head, head after head.
    func split(_ projected: Tensor, _ parts: Int) throws -> [Tensor] {
      try projected.reshape([projected.shape[0], projected.shape[1], -1, parts * headDim]).chunk(parts, dim: 3).map(
        flat)
    }
    switch layout {
    case .separate:
      if case .borrowed(let layer) = keys {
        guard let rides = context.rides else {
          throw ModelError("the keys and values of layer \(layer + 1) are not there")
        }
        let queries = try inputs[0].forward(asking, weights: weights, context: context)
        let (keys, values) = try rides.borrowed(from: layer)
        return (queries, keys, values, nil)
      }
      // Where few tokens ask, theirs are the only queries that are worth computing.
      let all = trimming == nil ? try weights.project(x, inputs, context: context) : nil
      let queries = try all?[0] ?? inputs[0].forward(asking, weights: weights, context: context)
      let keys = try all?[1] ?? inputs[1].forward(x, weights: weights, context: context)
      let values =
        try inputs.count < 3 ? keys : all?[2] ?? inputs[2].forward(x, weights: weights, context: context)
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
