public import JSON

/// Phi-3.5-MoE (Abdin et al. 2024, arXiv 2404.14219; `transformers` modeling_phimoe.py): experts routed by SparseMixer,
/// LayerNorms, biases. Its LongRoPE is that of `transformers`: always the short factors, and another magnitude for long sequences.
public enum PhiMoE: Family {
  public static let modelTypes = ["phimoe"]

  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["num_experts_per_tok"] = .int(2)
    return config
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_local_experts"], expertWidthKey: "intermediate_size", topK: 2, epsilon: 1e-5)
    guard decoder.topK == 2 else {
      throw ModelError(
        "\(config.file): \"num_experts_per_tok\" is \(decoder.topK), but this family's routing always chooses 2 experts"
      )
    }
    (decoder.normKind, decoder.normBias) = (.layer, true)
    try decoder.readHeadDim()
    let headDim = decoder.sizes[.headDim]
    // The section's length holds, whatever stands outside it.
    var rotary = try Rotary(
      config.without(["original_max_position_embeddings"]), dimension: headDim,
      RotaryFields(theta: 1_000_000, maxPositions: 131_072))
    var rules: [ShapeRule] = []
    switch rotary.scaling {
    case .none: break
    case .longrope(let short, _, let original, _):
      let section = try config.ropeSection() ?? config
      rotary.magnitudes = Rotary.Magnitudes(
        short: try section.number("short_mscale"), long: try section.number("long_mscale"), original: Int(original))
      rules.append(
        ShapeRule([.hiddenSize, .numAttentionHeads]) { sizes in
          sizes[.headDim] / 2 == short.count
            ? nil : "PhimoeConfig wants as many LongRoPE factors as half of head_dim"
        })
    default: throw ModelError("\(config.file): scaled positions of this family are \"longrope\" or none")
    }
    let bias = try config.flag("attention_bias", default: false)
    let attention = Attention(
      decoder.prefix + ".self_attn", headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias,
      window: try config.optionalSize("sliding_window"))
    let block = decoder.prefix + ".block_sparse_moe"
    let experts = MixtureOfExperts(
      router: Router(
        block + ".gate", topK: 2,
        scoring: .sparseMixer(reach: 2 * (try config.number("router_jitter_noise", default: 0.01)))),
      experts: Experts(
        block + ".experts", layout: .separate(gate: "w1", up: "w3", down: "w2"),
        nonlinearity: .activation(decoder.activation)))
    var description = try decoder.describe(attention: { _ in attention }, mlp: { _ in experts }, shapeRules: rules)
    if try config.flag("lm_head_bias", default: false) { description.headBias = Weight("lm_head.bias", [.vocabulary]) }
    description.recomputesBeyond = rotary.magnitudes?.original
    return description
  }
}
