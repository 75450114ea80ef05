/// GLM-4 9B (`glm`, GLM team 2024, arXiv 2406.12793; `transformers` modeling_glm.py) and GLM-4-0414 and Z1 (`glm4`,
/// modeling_glm4.py), which have norms after the blocks too: gate and up in one, half of each head with positions, neighbours
/// turning by one another.
public enum GLM: Family {
  public static let modelTypes = ["glm", "glm4"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultHeadDim: 128, defaultKVHeads: 2, defaultEpsilon: 1.5625e-7)
    if try config.string("model_type") == "glm4" {
      decoder.norms = .named(
        before: ["input_layernorm", "post_attention_layernorm"],
        after: ["post_self_attn_layernorm", "post_mlp_layernorm"])
    }
    let headDim = decoder.headDim
    let rotary = try Rotary(
      config, dimension: headDim, RotaryFields(partial: 0.5, maxPositions: 131_072, pairs: .neighbours))
    let bias = try config.flag("attention_bias", default: true)
    let activation = try Activation(config)
    return try decoder.describe(
      attention: { prefix, _ in Attention(prefix, headDim: headDim, rotary: rotary, qkvBias: bias) },
      mlp: { GatedMLP($0, activation: activation, joined: "gate_up_proj") })
  }
}
