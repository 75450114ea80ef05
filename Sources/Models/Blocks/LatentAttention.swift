public import Torch

// Shapes: B rows, S tokens, H hidden, N heads, P channels of a head without position, R with, D value channels.

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values come out of one small latent, and
/// positions ride on channels of their own that all heads' keys share. It has no tap: families have to fix num_attention_heads.
public struct LatentAttention: Block {
  static let plain = Dimension(fixed: "qk_nope_head_dim")
  static let turning = Dimension(fixed: "qk_rope_head_dim")
  static let valueDim = Dimension(fixed: "v_head_dim")
  static let queryRank = Dimension(fixed: "q_lora_rank")
  static let latent = Dimension(fixed: "kv_lora_rank")

  /// The query's projection, or its two steps with a norm between them.
  private let query: [Linear]
  private let queryNorm: Norm?
  private let compress: Linear
  private let latentNorm: Norm
  private let expand: Linear
  private let output: Linear
  private let picking: TokenPicking
  private let sizes: Sizes
  private let rotary: Rotary
  private let isInterleaved: Bool
  private let scale: Double

  /// - Parameters:
  ///   - sizes: of the dimensions above; `queryRank` zero where queries are projected in one step.
  ///   - interleaved: neighbouring channels turn by one another, not halves.
  ///   - scale: on scores before softmax.
  ///   - picking: which tokens are looked at.
  init(
    _ prefix: String, sizes: Sizes, rotary: Rotary, interleaved: Bool, bias: Bool, scale: Double,
    picking: TokenPicking = .none
  ) {
    self.picking = picking
    let queries = Axis.heads * (Axis(Self.plain) + Axis(Self.turning))
    let rank = Axis(Self.queryRank)
    if sizes[Self.queryRank] > 0 {
      query = [
        Linear(prefix + ".q_a_proj", [rank, .hidden], bias: bias), Linear(prefix + ".q_b_proj", [queries, rank]),
      ]
      queryNorm = Norm(prefix + ".q_a_layernorm", over: rank, epsilon: 1e-6)
    } else {
      query = [Linear(prefix + ".q_proj", [queries, .hidden])]
      queryNorm = nil
    }
    let latent = Axis(Self.latent)
    compress = Linear(prefix + ".kv_a_proj_with_mqa", [latent + Axis(Self.turning), .hidden], bias: bias)
    latentNorm = Norm(prefix + ".kv_a_layernorm", over: latent, epsilon: 1e-6)
    expand = Linear(
      prefix + ".kv_b_proj", [.heads * (Axis(Self.plain) + Axis(Self.valueDim)), latent])
    output = Linear(prefix + ".o_proj", [.hidden, .heads * Axis(Self.valueDim)], bias: bias)
    self.sizes = sizes
    self.rotary = rotary
    isInterleaved = interleaved
    self.scale = scale
  }

  public var weights: [Weight] {
    query.flatMap(\.weights) + (queryNorm?.weights ?? []) + compress.weights + latentNorm.weights + expand.weights
      + output.weights + picking.weights
  }

  /// The latent and the turning channels of the keys are what generation keeps.
  public var cachesTokens: Bool { true }
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    rows * tokens * (sizes[Self.latent] + sizes[Self.turning])
  }

  /// Steps keep what the latent is expanded to, which is quicker than to expand it at each.
  public func steppedElements(tokens: Int, sizes: Sizes) -> Int {
    tokens * sizes[.heads] * (sizes[Self.plain] + sizes[Self.turning] + sizes[Self.valueDim])
  }

  /// Scores and sums over the causal half of each row.
  public func operations(rows: [Int], sizes: Sizes) -> Double {
    let inner = Double(sizes[.heads] * (sizes[Self.plain] + sizes[Self.turning] + sizes[Self.valueDim]))
    return rows.reduce(productOperations(rows: rows, sizes: sizes)) { $0 + inner * Double($1) * Double($1) }
  }

  public var mixing: TokenMixing { .sequences(sharing: rotary.uniformLength) }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let rows = x.shape[0]
    let (heads, plain, turning) = (sizes[.heads], sizes[Self.plain], sizes[Self.turning])
    let (latent, valueDim) = (sizes[Self.latent], sizes[Self.valueDim])
    func rotate(_ y: Tensor, _ positions: Positions) throws -> Tensor {
      try isInterleaved ? positions.rotateNeighbours(y, rotary) : positions.rotate(y, rotary)
    }
    // Queries: of all tokens, or of those that are wanted of a packed row.
    let trimming = context.packed.flatMap { $0.lastTokensOnly ? $0 : nil }
    let asking = try trimming?.trim(x) ?? x
    let asked = trimming?.wantedPositions ?? context.positions
    var q = try query[0].forward(asking, weights: weights, context: context)
    var index: (queries: TokenIndexer.Queries, keys: Tensor)?
    if let queryNorm {
      let low = try queryNorm.forward(q, weights: weights)
      q = try query[1].forward(low, weights: weights, context: context)
      index = try picking.index(x, asking: asking, low: low, weights: weights, context: context, sizes, rotary)
    }
    q = try q.reshape([rows, asking.shape[1], heads, plain + turning])
    q = try q.changing(dim: 3, start: plain, length: turning) {
      try rotate($0, asked)
    }

    let compressed = try compress.forward(x, weights: weights, context: context).split([latent, turning], dim: 2)
    var small = try latentNorm.forward(compressed[0], weights: weights)  // [B, S, latent]
    var turned = try rotate(compressed[1].unsqueeze(2), context.positions)  // [B, S, 1, R]
    // The indexer's keys are kept beside the latent and the turning channels.
    var indexKey = index?.keys
    if let cache = context.cache {
      let kept = try indexKey.map { try Tensor.cat([turned, $0.unsqueeze(2)], dim: 3) } ?? turned
      (small, turned) = try cache.append(key: small, value: kept, layer: context.layer, tokenAxis: 1)
      if let own = indexKey {
        let parts = try turned.split([turning, own.shape[2]], dim: 3)
        (turned, indexKey) = (parts[0], try parts[1].squeeze(2))
      }
    }
    let keys = small.shape[1]
    let expanded = try expand.forward(small, weights: weights, context: context)
      .reshape([rows, keys, heads, plain + valueDim]).split([plain, valueDim], dim: 3)
    var k = try Tensor.cat([expanded[0], turned.expand([rows, keys, heads, turning])], dim: 3)
    var v = expanded[1]
    if let packed = context.packed {
      if let own = indexKey {
        let flat = try v.reshape([rows, keys, heads * valueDim])
        let joined = try packed.join(key: k, value: Tensor.cat([flat, own], dim: 2))
        let parts = try joined.value.split([heads * valueDim, own.shape[2]], dim: 2)
        k = joined.key
        (v, indexKey) = (try parts[0].reshape([rows, k.shape[1], heads, valueDim]), parts[1])
      } else {
        (k, v) = try packed.join(key: k, value: v)
      }
    }

    let packing = context.packed?.packing
    let segments = trimming == nil ? packing?.segments : packing?.wantedSegments
    let attended: Tensor
    if let index, let indexKey, let picks = picking.indexer?.picks {
      attended = try PickedAttention(picks: picks, scale: scale).attend(
        .init(query: q, key: k, value: v, indexQueries: index.queries, indexKey: indexKey), segments: segments)
    } else {
      attended = try .fusedAttention(query: q, key: k, value: v, segments: segments, scale: scale)
    }
    return try output.forward(
      attended.reshape([rows, asking.shape[1], heads * valueDim]), weights: weights, context: context)
  }
}
