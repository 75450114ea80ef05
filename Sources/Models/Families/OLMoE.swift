import JSON

/// OLMoE (Muennighoff et al. 2024, arXiv 2409.02060; `transformers` modeling_olmoe.py): norms over all heads'
/// queries and keys.
public enum OLMoE: Family {
  public static let modelTypes = ["olmoe"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_experts", "num_local_experts"], expertWidthKey: "intermediate_size", topK: 8,
      epsilon: 1e-5)
    try decoder.readHeadDim()
    let headDim = decoder.sizes[.headDim]
    guard decoder.sizes[.hidden] == decoder.sizes[.heads] * headDim else {
      throw ModelError("\(config.file): OLMoE wants hidden_size to be num_attention_heads × head_dim")
    }
    guard try config.optionalNumber("clip_qkv") == nil else {
      throw ModelError("\(config.file): \"clip_qkv\" is not supported; no published OLMoE model sets it")
    }
    let bias = try config.flag("attention_bias", default: false)
    let attention = Attention(
      decoder.prefix + ".self_attn", headDim: headDim,
      rotary: try Rotary(config, dimension: headDim, RotaryFields(maxPositions: 4096)), qkvBias: bias, outputBias: bias,
      normEpsilon: decoder.epsilon, normSpan: .projection)
    let mlp = decoder.prefix + ".mlp"
    let experts = MixtureOfExperts(
      router: Router(mlp + ".gate", topK: decoder.topK, normalises: try config.flag("norm_topk_prob", default: false)),
      experts: Experts(mlp + ".experts", nonlinearity: .activation(decoder.activation)))
    // With as many key-value heads as heads none of them can go, and so no residual channel either.
    let fixed: Set<Hyperparameter> = decoder.sizes[.heads] == decoder.sizes[.kvHeads] ? [.hiddenSize] : []
    return try decoder.describe(
      attention: { _ in attention }, mlp: { _ in experts }, fixed: fixed,
      shapeRules: [
        ShapeRule([.hiddenSize, .numAttentionHeads]) { sizes in
          sizes[.hidden] == sizes[.heads] * headDim
            ? nil
            : "OLMoE's norms of queries are as long as hidden_size, which has to stay num_attention_heads × \(headDim)"
        }
      ])
  }
}
