import JSON

/// Apertus 8B and 70B (Swiss AI 2025, arXiv 2509.14233; `transformers` modeling_apertus.py): norms of each head's queries and
/// keys, a plain MLP whose nonlinearity has parameters.
public enum Apertus: Family {
  public static let modelTypes = ["apertus"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultEpsilon: 1e-5)
    decoder.norms = .named(before: ["attention_layernorm", "feedforward_layernorm"])
    let (headDim, epsilon) = (decoder.headDim, decoder.epsilon)
    let section = JSON.Object([
      ("rope_type", .text("llama3")), ("rope_theta", .double(12_000_000)), ("factor", .double(8)),
      ("low_freq_factor", .double(1)), ("high_freq_factor", .double(4)),
      ("original_max_position_embeddings", .int(8192)),
    ])
    let rotary = try Rotary(
      config, dimension: headDim, RotaryFields(theta: 12_000_000, maxPositions: 65536, section: section))
    let bias = try config.flag("attention_bias", default: false)
    let isLearned = try config.string("hidden_act", default: "xielu") == "xielu"
    let activation = isLearned ? Activation.relu : try Activation(config)
    return try decoder.describe(
      attention: { prefix, _ in
        Attention(
          prefix, headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias, normEpsilon: epsilon)
      },
      mlp: {
        PlainMLP(
          up: $0 + ".up_proj", down: $0 + ".down_proj", activation: activation,
          learned: isLearned ? XIELU($0 + ".act_fn") : nil)
      })
  }
}
