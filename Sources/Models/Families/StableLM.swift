/// StableLM 3B and StableLM 2 (Stability AI 2024, arXiv 2402.17834; `transformers` modeling_stablelm.py): LayerNorm, a quarter
/// of each head with positions, in the 12B model branches side by side and a norm for each head. The loader takes head_dim from
/// hidden_size and heads: so these keep their sizes.
public enum StableLM: Family {
  public static let modelTypes = ["stablelm"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(
      config, defaultKVHeads: 32, epsilonKey: "layer_norm_eps", defaultEpsilon: 1e-5)
    let (hidden, heads, headDim) = (decoder.sizes[.hidden], decoder.sizes[.heads], decoder.headDim)
    guard headDim * heads == hidden else {
      throw ModelError(
        "\(config.file): num_attention_heads (\(heads)) should divide hidden_size (\(hidden)), and \"head_dim\" be absent "
          + "or what that gives")
    }
    decoder.fixed = [.hiddenSize, .numAttentionHeads]
    decoder.normKind = .layer
    decoder.normBias = true
    if try config.flag("use_parallel_residual", default: false) { decoder.norms = .shared }
    let rotary = try Rotary(config, dimension: headDim, RotaryFields(partial: 0.25, maxPositions: 4096))
    let bias = try config.flag("use_qkv_bias", default: false)
    let normEpsilon = try config.flag("qk_layernorm", default: false) ? decoder.epsilon : nil
    let span = Attention.NormSpan.own(queries: heads, keys: decoder.sizes[.kvHeads])
    let activation = try Activation(config)
    return try decoder.describe(
      attention: { prefix, _ in
        Attention(
          prefix, headDim: headDim, rotary: rotary, qkvBias: bias, normEpsilon: normEpsilon, normKind: .layer,
          normSpan: span, normNames: ("q_layernorm", "k_layernorm"))
      },
      mlp: { GatedMLP($0, activation: activation) })
  }
}
