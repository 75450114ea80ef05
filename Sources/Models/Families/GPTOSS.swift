import JSON

/// gpt-oss 20b and 120b (OpenAI 2025, arXiv 2508.10925; `transformers` modeling_gpt_oss.py): experts with biases
/// and a clamped activation in fused tensors, attention sinks, windows in every other layer. The published MXFP4
/// weights have to be converted to bf16 first.
public enum GPTOSS: Family {
  public static let modelTypes = ["gpt_oss"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_local_experts", "num_experts"], expertWidthKey: "intermediate_size", topK: 4,
      epsilon: 1e-5)
    decoder.normKind = .rmsWide
    try decoder.readHeadDim(default: 64)
    let headDim = decoder.sizes[.headDim]
    guard try config.has("rope_parameters") || config.ropeSection() != nil else {
      throw ModelError("\(config.file): there are neither \"rope_parameters\" nor \"rope_scaling\"")
    }
    let rotary = try Rotary(config, dimension: headDim, RotaryFields(theta: 150_000, maxPositions: 131_072))
    let bias = try config.flag("attention_bias", default: true)
    let windows = try AlternatingWindows(config, always: 128)
    let mlp = decoder.prefix + ".mlp"
    let experts = MixtureOfExperts(
      router: Router(mlp + ".router", topK: decoder.topK, scoring: .softmaxOfChosen, bias: true),
      experts: Experts(
        mlp + ".experts", layout: .interleaved,
        nonlinearity: .clamped(
          alpha: try config.positive("swiglu_alpha", default: 1.702),
          limit: try config.positive("swiglu_limit", default: 7))))
    return try decoder.describe(
      attention: { layer in
        Attention(
          decoder.prefix + ".self_attn", headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias,
          window: windows[layer], sinks: true)
      },
      mlp: { _ in experts }, editConfig: windows.edit)
  }
}
