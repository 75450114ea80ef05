public import JSON

/// GPT-2 (Radford et al. 2019; `transformers` modeling_gpt2.py): learned positions, LayerNorm, weights that lie turned
/// round. The loader takes head_dim from n_embd and n_head: so these keep their sizes.
public enum GPT2: Family {
  public static let modelTypes = ["gpt2"]

  public static func sample(modelType: String) -> JSON.Object {
    JSON.Object([
      ("model_type", .text(modelType)), ("vocab_size", .int(1024)), ("n_embd", .int(2048)), ("n_head", .int(16)),
      ("n_layer", .int(4)), ("n_positions", .int(4096)), ("n_inner", .int(4096)),
    ])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    for key in ["hidden_size", "num_attention_heads", "num_hidden_layers", "max_position_embeddings"] {
      guard config.object[key] == nil else {
        throw ModelError("\(config.file): \"\(key)\" goes by GPT-2's own name: n_embd, n_head, n_layer, n_positions")
      }
    }
    guard try !config.flag("add_cross_attention", default: false) else {
      throw ModelError("\(config.file): \"add_cross_attention\" says that this is the decoder of a larger model")
    }
    var sizes = DeclaredSizes(config)
    let hidden = try config.size("n_embd", default: 768)
    let heads = try config.size("n_head", default: 12)
    guard hidden % heads == 0 else {
      throw ModelError("\(config.file): n_embd (\(hidden)) should be a multiple of n_head (\(heads))")
    }
    let headDim = hidden / heads
    let table = Dimension(fixed: "n_positions")
    sizes[table] = try config.size("n_positions", default: 1024)
    (sizes[.hidden], sizes[.heads], sizes[.kvHeads], sizes[.headDim]) = (hidden, heads, heads, headDim)
    try sizes.read(.ffn, "n_inner", default: 4 * hidden)
    sizes[.vocabulary] = try config.size("vocab_size", default: 50257)

    let epsilon = try config.positive("layer_norm_epsilon", default: 1e-5)
    func norm(_ name: String) -> Norm { Norm(name, epsilon: epsilon, kind: .layer, bias: true) }
    let prefix = "transformer.h.{layer}"
    let scale = try config.flag("scale_attn_weights", default: true) ? 1 / Double(headDim).squareRoot() : 1
    // A scale by the layer's number is another model once layers go.
    let byLayer = try config.flag("scale_attn_by_inverse_layer_idx", default: false)
    var fixed: Set<Hyperparameter> = [.hiddenSize, .numAttentionHeads]
    if byLayer { fixed.insert(.numLayers) }
    let mlp = PlainMLP(
      up: prefix + ".mlp.c_fc", down: prefix + ".mlp.c_proj",
      activation: try Activation(config, key: "activation_function", default: "gelu_new"), bias: true,
      isStoredTransposed: true)
    let layers = try (0..<config.size("n_layer", default: 12, atMost: ConfigReader.largestLayerCount)).map { layer in
      let attention = Attention(
        prefix + ".attn", headDim: headDim, rotary: nil, qkvBias: true, outputBias: true,
        scale: byLayer ? scale / Double(layer + 1) : scale, layout: .stacked("c_attn"), outputName: "c_proj",
        isStoredTransposed: true)
      return LayerDescription([
        Sublayer(norm: norm(prefix + ".ln_1"), block: attention), Sublayer(norm: norm(prefix + ".ln_2"), block: mlp),
      ])
    }
    var description = ModelDescription(
      family: "gpt2", declared: sizes, embedding: Weight("transformer.wte.weight", [.vocabulary, .hidden]),
      layers: layers, finalNorm: norm("transformer.ln_f"),
      isTied: try config.flag("tie_word_embeddings", default: true),
      // The causal mask, as older versions of `transformers` saved it.
      names: TensorNames(prefix: "transformer.", buffers: [".attn.bias", ".attn.masked_bias"]), layersField: "n_layer",
      fixed: fixed)
    description.positions = Weight("transformer.wpe.weight", [Axis(table), .hidden])
    return description
  }
}
