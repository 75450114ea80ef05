import Torch

// Shapes: B rows, S tokens, H hidden, E the rank of queries, I heads of the indexer, D their channels, R of which turn.

/// The indexer of sparse attention (DeepSeek-V3.2, 2025): a small attention of its own that picks the tokens that latent attention looks at,
/// `index_topk` of them (`PickedAttention`). A sequence that is no longer has all of its tokens picked, and nothing is computed.
/// Its weights are carried along, and cut with the hidden size.
///
/// Layers without an indexer look at the tokens that the one before them picks (`transformers` modeling_glm_moe_dsa.py): they are lent its
/// queries and keys, of which the same follows.
struct TokenIndexer {
  private static let heads = Dimension(fixed: "index_n_heads")
  private static let headDim = Dimension(fixed: "index_head_dim")

  /// How many tokens are picked.
  let picks: Int
  /// Whether neighbouring channels turn by one another, not halves.
  private let isInterleaved: Bool
  private let query: Linear, key: Linear, share: Linear
  private let norm: Norm

  var weights: [Weight] { query.weights + key.weights + norm.weights + share.weights }

  /// - Parameters:
  ///   - prefix: what its weights' names begin with.
  ///   - picks: tokens that are looked at.
  ///   - interleaved: neighbouring channels turn by one another, not halves.
  init(_ prefix: String, picks: Int, interleaved: Bool) {
    (self.picks, isInterleaved) = (picks, interleaved)
    let (heads, headDim) = (Axis(Self.heads), Axis(Self.headDim))
    query = Linear(prefix + ".wq_b", [heads * headDim, Axis(LatentAttention.queryRank)])
    key = Linear(prefix + ".wk", [headDim, .hidden])
    norm = Norm(prefix + ".k_norm", over: headDim, epsilon: 1e-6, kind: .layer, bias: true)
    share = Linear(prefix + ".weights_proj", [heads, .hidden])
  }

  /// The sizes of a config.
  ///
  /// - Parameter defaultHeads: where the config does not say.
  static func readSizes(_ config: ConfigReader, into sizes: inout DeclaredSizes, defaultHeads: Int) throws {
    sizes[heads] = try config.size(heads.name, default: defaultHeads, atMost: 1 << 16)
    sizes[headDim] = try config.size(headDim.name, default: 128, atMost: 1 << 16)
  }

  /// The indexer's key of each token, `[B, S, D]`.
  ///
  /// - Parameters:
  ///   - x: `[B, S, H]`.
  ///   - turning: the channels that turn.
  func keys(
    _ x: Tensor, weights: LayerWeights, positions: Positions, _ rotary: Rotary, turning: Int
  ) throws -> Tensor {
    let y = try norm.forward(multiplied(x, by: key, weights), weights: weights).unsqueeze(2)
    return try turned(y, positions, rotary, turning).squeeze(2)
  }

  /// The indexer's queries.
  struct Queries {
    /// `[B, S, I, D]`.
    var heads: Tensor
    /// The weight of each head in a token's score, before the scale of scores, `[B, S, I]`.
    var shares: Tensor
  }

  /// Channels that queries and keys of a token have together.
  static func lentChannels(_ sizes: Sizes) -> Int { sizes[heads] * sizes[headDim] + sizes[heads] + sizes[headDim] }

  /// Queries and keys as they are lent, `[B, S, I D + I + D]`.
  static func lent(_ queries: Queries, keys: Tensor) throws -> Tensor {
    let flat = try queries.heads.reshape([keys.shape[0], keys.shape[1], -1])
    return try Tensor.cat([flat, queries.shares, keys], dim: 2)
  }

  /// The same taken apart.
  ///
  /// - Parameter keys: `[B, S, D]`.
  static func borrowed(_ lent: Tensor, _ sizes: Sizes) throws -> (queries: Queries, keys: Tensor) {
    let (count, width) = (sizes[heads], sizes[headDim])
    // Whoever makes them learns nothing from it.
    let alone = LibTorch.isRecording ? try lent.leaf(wantsGradient: false) : lent
    let parts = try alone.split([count * width, count, width], dim: 2)
    let heads = try parts[0].reshape([lent.shape[0], lent.shape[1], count, width])
    return (Queries(heads: heads, shares: parts[1]), parts[2])
  }

  /// - Parameters:
  ///   - x: `[B, S, H]`.
  ///   - low: what latent attention's queries are made of, `[B, S, E]`.
  ///   - turning: the channels that turn.
  func queries(
    _ x: Tensor, low: Tensor, weights: LayerWeights, positions: Positions, _ rotary: Rotary, turning: Int
  ) throws -> Queries {
    let shares = try multiplied(x, by: share, weights)
    let (heads, width) = (shares.shape[2], try weights[key.weight].shape[0])
    let y = try multiplied(low, by: query, weights).reshape([x.shape[0], x.shape[1], heads, width])
    return Queries(heads: try turned(y, positions, rotary, turning), shares: shares)
  }

  /// The indexer only chooses: nothing of it is recorded for gradients or shown to observers.
  private func multiplied(_ x: Tensor, by map: Linear, _ weights: LayerWeights) throws -> Tensor {
    func apart(_ y: Tensor) throws -> Tensor { LibTorch.isRecording ? try y.leaf(wantsGradient: false) : y }
    return try apart(x).linear(weight: apart(weights[map.weight]))
  }

  private func turned(_ y: Tensor, _ positions: Positions, _ rotary: Rotary, _ turning: Int) throws -> Tensor {
    try y.changing(dim: 3, start: 0, length: turning) {
      try isInterleaved ? positions.rotateNeighbours($0, rotary) : positions.rotate($0, rotary)
    }
  }
}
