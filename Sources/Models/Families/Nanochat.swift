/// nanochat (Karpathy 2025; `transformers` modeling_nanochat.py): norms without weights, of embeddings too and of each head's
/// queries and keys after they have turned, a plain MLP by squared ReLU, soft-capped logits.
public enum Nanochat: Family {
  public static let modelTypes = ["nanochat"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config)
    decoder.normKind = .bare
    decoder.scales = OuterScales(
      softcap: try GemmaDecoder.softcap(config, "final_logit_softcapping", default: 15))
    let (headDim, epsilon) = (decoder.headDim, decoder.epsilon)
    let rotary = try Rotary(config, dimension: headDim, RotaryFields(pairs: .halvesBackwards))
    let activation = try Activation(config, default: "relu2")
    let bias = try config.flag("attention_bias", default: false)
    var description = try decoder.describe(
      attention: { prefix, _ in
        Attention(
          prefix, headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias, normEpsilon: epsilon,
          normKind: .bare, normsTurned: true)
      },
      mlp: { PlainMLP(up: $0 + ".fc1", down: $0 + ".fc2", activation: activation) })
    description.embeddingNorm = decoder.norm("embedding")
    return description
  }
}
