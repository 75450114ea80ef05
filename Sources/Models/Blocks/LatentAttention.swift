public import Torch

// Shapes: B rows, S tokens, H hidden, N heads, P channels of a head without position, R with, D value channels.

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values come out of one small latent, and
/// positions ride on channels of their own that all heads' keys share. Heads are not pruned here.
public struct LatentAttention: Block {
  static let heads = Dimension(fixed: "num_attention_heads")
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
  private let sizes: Sizes
  private let rotary: Rotary
  private let isInterleaved: Bool
  private let scale: Double

  /// - Parameters:
  ///   - sizes: of the dimensions above; `queryRank` zero where queries are projected in one step.
  ///   - interleaved: neighbouring channels turn by one another, not halves.
  ///   - scale: on scores before softmax.
  init(_ prefix: String, sizes: Sizes, rotary: Rotary, interleaved: Bool, bias: Bool, scale: Double) {
    let queries = Axis(Self.heads) * (Axis(Self.plain) + Axis(Self.turning))
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
      prefix + ".kv_b_proj", [Axis(Self.heads) * (Axis(Self.plain) + Axis(Self.valueDim)), latent])
    output = Linear(prefix + ".o_proj", [.hidden, Axis(Self.heads) * Axis(Self.valueDim)], bias: bias)
    self.sizes = sizes
    self.rotary = rotary
    isInterleaved = interleaved
    self.scale = scale
  }

  public var weights: [Weight] {
    query.flatMap(\.weights) + (queryNorm?.weights ?? []) + compress.weights + latentNorm.weights + expand.weights
      + output.weights
  }

  /// The latent and the turning channels of the keys are what generation keeps.
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    rows * tokens * (sizes[Self.latent] + sizes[Self.turning])
  }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let (rows, tokens) = (x.shape[0], x.shape[1])
    let (heads, plain, turning) = (sizes[Self.heads], sizes[Self.plain], sizes[Self.turning])
    let (latent, valueDim) = (sizes[Self.latent], sizes[Self.valueDim])
    func turn(_ y: Tensor) throws -> Tensor {
      try isInterleaved ? context.positions.rotateInterleaved(y, rotary) : context.positions.rotate(y, rotary)
    }
    var q = try query[0].forward(x, weights: weights)
    if let queryNorm { q = try query[1].forward(queryNorm.forward(q, weights: weights), weights: weights) }
    let parts = try q.reshape([rows, tokens, heads, plain + turning]).transpose(1, 2)
      .split([plain, turning], dim: 3)
    q = try Tensor.cat([parts[0], turn(parts[1])], dim: 3)  // [B, N, S, P + R]

    let compressed = try compress.forward(x, weights: weights).split([latent, turning], dim: 2)
    var small = try latentNorm.forward(compressed[0], weights: weights).unsqueeze(1)  // [B, 1, S, latent]
    var turned = try turn(compressed[1].unsqueeze(1))  // [B, 1, S, R]
    if let cache = context.cache {
      (small, turned) = try cache.append(key: small, value: turned, layer: context.layer, tokenAxis: 2)
    }
    let keys = small.shape[2]
    let expanded = try expand.forward(small.squeeze(1), weights: weights)
      .reshape([rows, keys, heads, plain + valueDim]).transpose(1, 2).split([plain, valueDim], dim: 3)
    let k = try Tensor.cat([expanded[0], turned.expand([rows, heads, keys, turning])], dim: 3)
    // The fused kernels want values as wide as keys.
    let missing = plain + turning - valueDim
    let v =
      missing > 0
      ? try Tensor.cat(
        [expanded[1], .zeros([rows, heads, keys, missing], dtype: x.dtype, device: x.device)], dim: 3) : expanded[1]

    let mask = try context.positions.mask(queries: tokens, keys: keys, window: nil)
    let attended = try Tensor.scaledDotProductAttention(
      query: q, key: k, value: v, mask: mask, isCausal: mask == nil && tokens > 1, scale: scale, enableGQA: false)
    let joined = try attended.narrow(dim: 3, start: 0, length: valueDim).transpose(1, 2)
      .reshape([rows, tokens, heads * valueDim])
    return try output.forward(joined, weights: weights)
  }
}
