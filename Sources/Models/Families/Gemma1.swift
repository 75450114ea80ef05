/// Gemma (Gemma team 2024, arXiv 2403.08295; `transformers` modeling_gemma.py): norms by `1 + weight` before the blocks alone,
/// embeddings times the root of hidden_size.
public enum Gemma1: Family {
  public static let modelTypes = ["gemma"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultHeadDim: 256, defaultKVHeads: 16)
    decoder.normKind = .rmsPlusOne
    decoder.tiedByDefault = true
    decoder.scales = OuterScales(embedding: { Double($0[.hidden]).squareRoot() })
    guard try !config.flag("use_bidirectional_attention", default: false) else {
      throw ModelError("\(config.file): \"use_bidirectional_attention\" says that this is no causal language model")
    }
    let headDim = decoder.headDim
    let rotary = try Rotary(config, dimension: headDim, RotaryFields(maxPositions: 8192))
    let bias = try config.flag("attention_bias", default: false)
    // The first checkpoints say "gelu" and mean its tanh form.
    var activation = try Activation(config, default: "gelu_pytorch_tanh")
    if activation == .gelu { activation = .geluTanh }
    var description = try decoder.describe(
      attention: { prefix, _ in
        Attention(prefix, headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias)
      },
      mlp: { [activation] in GatedMLP($0, activation: activation) })
    description.wantsBOS = true
    return description
  }
}
