/// GPT-NeoX-20B and Pythia (Black et al. 2022, arXiv 2204.06745): attention and MLP side by side on one input, a
/// quarter of each head with positions. The loader takes head_dim from hidden_size and heads, and every head has keys
/// of its own: so hidden_size and heads keep their sizes.
public enum GPTNeoX: Family {
  public static let modelTypes = ["gpt_neox"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var sizes = DeclaredSizes(config)
    let hidden = try config.size("hidden_size")
    let heads = try config.size("num_attention_heads")
    guard hidden % heads == 0 else {
      throw ModelError(
        "\(config.file): hidden_size (\(hidden)) should be a multiple of num_attention_heads (\(heads))")
    }
    let headDim = hidden / heads
    // `transformers` takes it for the positions alone, which then turn another part of each head.
    guard try config.size("head_dim", default: headDim) == headDim else {
      throw ModelError(
        "\(config.file): \"head_dim\" should be absent or hidden_size / num_attention_heads (\(headDim))")
    }
    let epsilon = try config.positive("layer_norm_eps", default: 1e-5)
    func norm(_ name: String) -> Norm { Norm(name, epsilon: epsilon, kind: .layer, bias: true) }
    let prefix = "gpt_neox.layers.{layer}"
    let bias = try config.flag("attention_bias", default: true)
    let rotary = try Rotary(
      config, dimension: headDim,
      RotaryFields(thetaKey: "rotary_emb_base", partial: 0.25, partialKey: "rotary_pct"))
    let attention = Attention(
      prefix + ".attention", headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias,
      layout: .interleaved("query_key_value"), outputName: "dense")
    let mlp = PlainMLP(
      up: prefix + ".mlp.dense_h_to_4h", down: prefix + ".mlp.dense_4h_to_h",
      activation: try Activation(config, default: "gelu"), bias: true)
    let layer = LayerDescription(
      [
        Sublayer(norm: norm(prefix + ".input_layernorm"), block: attention),
        Sublayer(norm: norm(prefix + ".post_attention_layernorm"), block: mlp),
      ], isParallel: try config.flag("use_parallel_residual", default: true))
    // Of these none can change: no field is declared for them.
    (sizes[.hidden], sizes[.heads], sizes[.kvHeads], sizes[.headDim]) = (hidden, heads, heads, headDim)
    try sizes.read(.ffn, "intermediate_size")
    sizes[.vocabulary] = try config.size("vocab_size")
    return ModelDescription(
      family: "gpt_neox", declared: sizes,
      embedding: Weight("gpt_neox.embed_in.weight", [.vocabulary, .hidden]),
      layers: Array(repeating: layer, count: try config.layerCount("num_hidden_layers")),
      finalNorm: norm("gpt_neox.final_layer_norm"),
      isTied: try config.flag("tie_word_embeddings", default: false),
      names: TensorNames(
        prefix: "gpt_neox.", heads: ["embed_out.weight", "lm_head.weight"],
        // The causal mask, as older versions of `transformers` saved it.
        buffers: [".attention.bias", ".attention.masked_bias"]),
      fixed: [.hiddenSize, .numAttentionHeads])
  }
}
