/// The indexer of sparse attention (DeepSeek-V3.2, 2025): a small attention of its own that picks the tokens that latent attention looks at,
/// `index_topk` of them. A sequence that is no longer has all of its tokens picked, and nothing is to be computed: its weights
/// are carried along, and cut with the hidden size. Longer ones are refused (`ModelDescription.longestSequence`).
struct TokenIndexer {
  private static let heads = Dimension(fixed: "index_n_heads")
  private static let headDim = Dimension(fixed: "index_head_dim")

  let weights: [Weight]

  /// - Parameter prefix: what its weights' names begin with.
  init(_ prefix: String) {
    let (heads, headDim) = (Axis(Self.heads), Axis(Self.headDim))
    weights =
      Linear(prefix + ".wq_b", [heads * headDim, Axis(LatentAttention.queryRank)]).weights
      + Linear(prefix + ".wk", [headDim, .hidden]).weights
      + Norm(prefix + ".k_norm", over: headDim, epsilon: 1e-6, kind: .layer, bias: true).weights
      + Linear(prefix + ".weights_proj", [heads, .hidden]).weights
  }

  /// The sizes of a config.
  ///
  /// - Parameter defaultHeads: where the config does not say.
  static func readSizes(_ config: ConfigReader, into sizes: inout DeclaredSizes, defaultHeads: Int) throws {
    sizes[heads] = try config.size(heads.name, default: defaultHeads, atMost: 1 << 16)
    sizes[headDim] = try config.size(headDim.name, default: 128, atMost: 1 << 16)
  }
}
