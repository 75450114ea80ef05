public import JSON

/// GLM-4.5 to 4.7 (GLM team 2025, arXiv 2508.06471; `transformers` modeling_glm4_moe.py): DeepSeek-V3's mixture beside attention with
/// positions in half of each head.
public enum GLM4MoE: Family {
  public static let modelTypes = ["glm4_moe"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DeepSeekDecoder(config, latent: nil, defaultDense: 1, topK: 8, epsilon: 1e-5)
    let router = try decoder.sigmoidRouter(normalises: true, scale: 1)
    let base = decoder.base
    let headDim = base.sizes[.headDim]
    let attention = Attention(
      base.prefix + ".self_attn", headDim: headDim,
      rotary: try Rotary(config, dimension: headDim, RotaryFields(partial: 0.5, maxPositions: 131_072)),
      qkvBias: try config.flag("attention_bias", default: false),
      normEpsilon: try config.flag("use_qk_norm", default: false) ? base.epsilon : nil)
    return try decoder.describe(router: router, attention: { _ in attention })
  }
}

/// GLM-4.7-Flash (`transformers` modeling_glm4_moe_lite.py): DeepSeek-V3, with a list of the layers that have no experts.
public enum GLM4MoELite: Family {
  public static let modelTypes = ["glm4_moe_lite"]

  public static func sample(modelType: String) -> JSON.Object { LatentSample.config(modelType) }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    // Its class has no such field, and its code obeys it all the same.
    if let part = try config.optionalNumber("partial_rotary_factor"), part != 1 {
      throw ModelError(
        "\(config.file): \"partial_rotary_factor\" should be 1 or absent, for qk_rope_head_dim says what is rotated; found \(part)"
      )
    }
    let latent = DeepSeekDecoder.Latent(rank: 768, plain: 192, turning: 64, value: 256, latent: 512)
    var decoder = try DeepSeekDecoder(
      config, latent: latent, defaultDense: 1, listsDense: true, topK: 4, epsilon: 1e-5)
    let router = try decoder.sigmoidRouter(normalises: true, scale: 1.8)
    let attention = try decoder.latentAttention(
      interleaved: config.flag("rope_interleave", default: true), maxPositions: 202_752)
    return try decoder.describe(router: router, attention: { _ in attention })
  }
}
