/// dots.llm1 (rednote-hilab 2025, arXiv 2506.05767; `transformers` modeling_dots1.py): DeepSeek-V3's mixture beside Qwen3's attention.
public enum Dots1: Family {
  public static let modelTypes = ["dots1"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DeepSeekDecoder(config, latent: nil, defaultDense: 0)
    let router = try decoder.sigmoidRouter(normalises: false, scale: 1)
    let (prefix, epsilon, headDim) = (decoder.base.prefix, decoder.base.epsilon, decoder.base.sizes[.headDim])
    let rotary = try Rotary(config, dimension: headDim, RotaryFields(maxPositions: 2048))
    let bias = try config.flag("attention_bias", default: false)
    let windows = try WindowedLayers(config, alwaysFrom: 62)
    return try decoder.describe(
      router: router,
      attention: { layer in
        Attention(
          prefix + ".self_attn", headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias,
          normEpsilon: epsilon, window: windows[layer])
      }, edit: windows.edit)
  }
}
