/// Phi-1, 1.5 and 2 (Gunasekar et al. 2023, arXiv 2306.11644; `transformers` modeling_phi.py): attention and a plain MLP side
/// by side after one LayerNorm, biases everywhere, the head's too, half of each head with positions.
public enum Phi: Family {
  public static let modelTypes = ["phi"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, epsilonKey: "layer_norm_eps", defaultEpsilon: 1e-5)
    decoder.norms = .shared
    decoder.normKind = .layer
    decoder.normBias = true
    decoder.finalNorm = "final_layernorm"
    let (headDim, epsilon) = (decoder.headDim, decoder.epsilon)
    let rotary = try Rotary(config, dimension: headDim, RotaryFields(partial: 0.5))
    let activation = try Activation(config, default: "gelu_new")
    let isNormed = try config.flag("qk_layernorm", default: false)
    if isNormed {
      decoder.shapeRules = [
        ShapeRule([.hiddenSize, .numAttentionHeads]) { sizes in
          sizes[.hidden] / sizes[.heads] == headDim
            ? nil : "norms of queries and keys are as wide as hidden_size / num_attention_heads, whatever head_dim says"
        }
      ]
    }
    var description = try decoder.describe(
      attention: { prefix, _ in
        Attention(
          prefix, headDim: headDim, rotary: rotary, qkvBias: true, outputBias: true,
          normEpsilon: isNormed ? epsilon : nil, normKind: .layer, normBias: true,
          normNames: ("q_layernorm", "k_layernorm"), outputName: "dense")
      },
      mlp: { PlainMLP(up: $0 + ".fc1", down: $0 + ".fc2", activation: activation, bias: true) })
    description.headBias = Weight("lm_head.bias", [.vocabulary])
    return description
  }
}
