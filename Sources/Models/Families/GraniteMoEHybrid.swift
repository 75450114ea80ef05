public import JSON

/// Granite 4 (IBM 2025; `transformers` modeling_granitemoehybrid.py): Mamba-2 in most layers, attention with positions or without
/// in some, then an MLP or, with experts, a mixture that shares one; Granite's factors.
public enum GraniteMoEHybrid: Family {
  public static let modelTypes = ["granitemoehybrid"]

  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["layer_types"] = .array(["mamba", "attention", "mamba", "attention"].map { .text($0) })
    return config
  }

  /// With experts and without.
  public static func samples(modelType: String) -> [JSON.Object] {
    let whole = sample(modelType: modelType)
    var dense = whole
    dense["num_local_experts"] = .int(0)
    return [whole, dense]
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try MambaDecoder(config, epsilon: 1e-6, keys: nil)
    let attends = try Self.attends(config, layers: decoder.layers)
    let mixer = try decoder.mixer()
    let turns = try config.has("position_embedding_type") && config.string("position_embedding_type") == "rope"
    let attention = try decoder.attention(
      rotary: turns ? Rotary(config, dimension: decoder.sizes[.headDim]) : nil,
      scale: config.number("attention_multiplier", default: 1))
    let (mlp, rules) = try Self.mlp(&decoder)
    let scale = try config.number("residual_multiplier", default: 1)
    let embedding = try config.positive("embedding_multiplier", default: 1)
    return try decoder.describe(
      norms: ("input_layernorm", "post_attention_layernorm", "norm"), residualScales: (scale, scale),
      mixer: { layer -> any Block in attends[layer] ? attention : mixer }, mlp: mlp,
      scales: OuterScales(
        embedding: { _ in embedding }, logits: 1 / (try config.positive("logits_scaling", default: 1))),
      shapeRules: rules)
  }

  /// The MLP, or the mixture that shares it.
  private static func mlp(_ decoder: inout MambaDecoder) throws -> (any Block, [ShapeRule]) {
    let config = decoder.config
    let experts = try config.size("num_local_experts", default: 8, atLeast: 0)
    let channels = experts > 0 ? Dimension.sharedFFN : .ffn
    try decoder.sizes.read(channels, "shared_intermediate_size", default: 1024)
    let shared = GatedMLP(
      decoder.prefix + ".shared_mlp", activation: decoder.activation, channels: Axis(channels), joined: "input_linear",
      names: ("", "", "output_linear"))
    guard experts > 0 else { return (shared, []) }
    try decoder.sizes.read(
      .experts, "num_local_experts", default: 8, atMost: SparseDecoder.largestExpertCount / decoder.layers)
    try decoder.sizes.read(.moeFFN, "intermediate_size")
    let topK = try config.size("num_experts_per_tok", default: 2)
    let rule = ShapeRule.enoughExperts(topK, "num_experts_per_tok")
    try rule.check(decoder.sizes, config)
    let block = decoder.prefix + ".block_sparse_moe"
    return (
      MixtureOfExperts(
        router: Router(block + ".router.layer", topK: topK, scoring: .softmaxOfChosen),
        experts: Experts(
          block, layout: .stacked(both: "input_linear.weight", down: "output_linear.weight"),
          nonlinearity: .activation(decoder.activation)),
        shared: shared),
      [rule]
    )
  }

  /// Which layers have attention: by today's names of kinds or older ones.
  private static func attends(_ config: ConfigReader, layers: Int) throws -> [Bool] {
    let lists = try ["layer_types", "layers_block_type"].compactMap { try config.optionalStrings($0, count: layers) }
    guard let names = lists.first else { return Array(repeating: false, count: layers) }
    guard lists.allSatisfy({ $0 == names }) else {
      throw ModelError(
        "\(config.file): \"layer_types\" and \"layers_block_type\" say different things; keep one of them")
    }
    return try names.map { name in
      switch name {
      case "attention", LayerTypes.full: return true
      case "mamba", LayerTypes.linear: return false
      default: throw ModelError("\(config.file): layer type \"\(name)\" is not supported for this family")
      }
    }
  }
}
