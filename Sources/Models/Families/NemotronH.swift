import JSON

/// Nemotron-H, Nemotron Nano v2 and Nemotron 3 (arXiv 2504.03624; `transformers` modeling_nemotron_h.py): every layer is
/// one norm and one mixer: a Mamba-2 block, attention without positions, a squared-ReLU MLP, or a mixture of such MLPs.
public enum NemotronH: Family {
  public static let modelTypes = ["nemotron_h"]

  /// The kinds of layers, by their letter in `hybrid_override_pattern`.
  enum Kind: Character, CaseIterable {
    case mamba = "M"
    case attention = "*"
    case mlp = "-"
    case experts = "E"

    /// By a name in `layers_block_type`, of today or of older checkpoints.
    init?(name: String) {
      switch name {
      case "mamba", "linear_attention": self = .mamba
      case "attention", "full_attention": self = .attention
      case "mlp": self = .mlp
      case "moe": self = .experts
      default: return nil
      }
    }
  }

  /// What each layer is. Where a config has both spellings, the list holds, as for `transformers`.
  static func kinds(_ config: ConfigReader) throws -> [Kind] {
    let list = config.object["layers_block_type"]
    let pattern = config.object["hybrid_override_pattern"]
    let kinds: [Kind?]
    if let list, !list.isNull {
      kinds = list.array?.map { $0.string.flatMap(Kind.init(name:)) } ?? []
    } else {
      kinds = pattern?.string?.map(Kind.init(rawValue:)) ?? []
    }
    let known = kinds.compactMap { $0 }
    guard !known.isEmpty, known.count == kinds.count, known.count <= ConfigReader.largestLayerCount else {
      throw ModelError(
        "\(config.file): either \"layers_block_type\" (a list of mamba, attention, mlp and moe) or "
          + "\"hybrid_override_pattern\" (a string of M, *, - and E) should say what each layer is, found "
          + "\((list ?? pattern ?? .null).serialized().prefix(80))")
    }
    if let count = try config.optionalSize("num_hidden_layers"), count != known.count {
      throw ModelError("\(config.file): num_hidden_layers is \(count), but \(known.count) layers are described")
    }
    return known
  }

  public static func describe(_ original: ConfigReader) throws -> ModelDescription {
    let config = original.reading([
      "mamba_n_groups": "n_groups", "mamba_d_conv": "conv_kernel", "mamba_dt_min": "time_step_min",
      "mamba_conv_bias": "use_conv_bias",
    ])
    let kinds = try kinds(config)
    let epsilon = try config.positive("layer_norm_epsilon", default: 1e-5)
    var parts = Parts(sizes: DeclaredSizes(config, original: original))
    try parts.sizes.read(.hidden, "hidden_size")
    parts.sizes[.vocabulary] = try config.size("vocab_size")
    var blocks: [Kind: any Block] = [:]
    for kind in Kind.allCases where kinds.contains(kind) {
      switch kind {
      case .mamba: blocks[kind] = try parts.mamba(config, epsilon: epsilon)
      case .attention: blocks[kind] = try parts.attention(config)
      case .mlp: blocks[kind] = try parts.mlp(config)
      case .experts: blocks[kind] = try parts.experts(config)
      }
    }
    let layers = kinds.compactMap { kind in
      blocks[kind].map {
        LayerDescription([
          Sublayer(norm: Norm("backbone.layers.{layer}.norm", epsilon: epsilon, kind: .rmsWide), block: $0)
        ])
      }
    }
    var model = ModelDescription(
      family: "nemotron_h", declared: parts.sizes,
      embedding: Weight("backbone.embeddings.weight", [.vocabulary, .hidden]), layers: layers,
      finalNorm: Norm("backbone.norm_f", epsilon: epsilon, kind: .rmsWide),
      // Never tied, whatever tie_word_embeddings says: so `transformers` has it.
      isTied: false, names: TensorNames(prefix: "backbone.", otherPrefixes: ["model."]),
      editConfig: { config, kept in
        guard let pattern = config["hybrid_override_pattern"]?.string.map(Array.init), pattern.count == kinds.count
        else { return }
        config["hybrid_override_pattern"] = .text(String(kept.map { pattern[$0] }))
      },
      shapeRules: parts.shapeRules)
    model.prediction = PredictionModules(prefixes: ["mtp."], field: "num_nextn_predict_layers", modules: [])
    model.prediction?.obstacle = "their layers have a pattern of their own, which is not read"
    return model
  }
}

/// The blocks of a model's layers, with the sizes and config fields that come with them.
private struct Parts {
  var sizes: DeclaredSizes
  var shapeRules: [ShapeRule] = []
  /// What experts in a latent space read and write.
  private static let latent = Dimension(fixed: "moe_latent_size")
  private let mixer = "backbone.layers.{layer}.mixer"

  init(sizes: DeclaredSizes) { self.sizes = sizes }

  mutating func mamba(_ config: ConfigReader, epsilon: Double) throws -> Mamba2 {
    let heads = try sizes.read(.mambaHeads, "mamba_num_heads", default: 128)
    let groups = try MambaConfig.groups(config, heads: heads, headsKey: "mamba_num_heads")
    try sizes.read(.mambaHeadDim, "mamba_head_dim", default: 64)
    sizes[.mambaGroups] = groups
    sizes[.mambaState] = try MambaConfig.state(config, "ssm_state_size")
    sizes[.convKernel] = try MambaConfig.kernel(config)
    let shortest = try config.number("time_step_min", default: 0.001)
    guard shortest >= 0 else { throw ModelError("\(config.file): \"time_step_min\" should not be below zero") }
    var settings = Mamba2.Settings(
      groups: groups, epsilon: epsilon, activation: try Activation(config, key: "mamba_hidden_act"),
      stepLimit: shortest ... .infinity, bias: try config.flag("use_bias", default: false),
      convolutionBias: try config.flag("use_conv_bias", default: true))
    settings.stateBytes = try MambaConfig.stateBytes(config, default: "float32")
    return Mamba2(mixer, settings: settings)
  }

  mutating func attention(_ config: ConfigReader) throws -> Attention {
    try sizes.readHeads(default: 32, keys: 8)
    try sizes.read(.headDim, "head_dim", default: config.size("attention_head_dim", default: 128))
    return Attention(mixer, headDim: sizes[.headDim], rotary: nil)
  }

  mutating func mlp(_ config: ConfigReader) throws -> PlainMLP {
    try sizes.read(.ffn, "intermediate_size", default: 21504)
    return PlainMLP(
      up: mixer + ".up_proj", down: mixer + ".down_proj",
      activation: try Activation(config, key: "mlp_hidden_act", default: "relu2"),
      bias: try config.flag("mlp_bias", default: false))
  }
  mutating func experts(_ config: ConfigReader) throws -> MixtureOfExperts {
    let experts = try sizes.read(.experts, "n_routed_experts", default: 8, atMost: 1 << 14)
    let topK = try config.size("num_experts_per_tok", default: 2)
    let groups = Router.Groups(
      count: try config.size("n_group", default: 1), chosen: try config.size("topk_group", default: 1),
      score: .sumOfBestTwo)
    if let reason = groups.refusal(experts: experts, topK: topK) { throw ModelError("\(config.file): \(reason)") }
    shapeRules.append(ShapeRule([.numMoEExperts]) { groups.refusal(experts: $0[.experts], topK: topK) })
    sizes[.expertGroups] = groups.count
    try sizes.read(.moeFFN, "moe_intermediate_size", default: 7688)
    try sizes.read(.sharedFFN, "moe_shared_expert_intermediate_size", default: 7688)
    let activation = try Activation(config, key: "mlp_hidden_act", default: "relu2")
    let bias = try config.flag("mlp_bias", default: false)
    let latentSize = try config.optionalSize("moe_latent_size")
    if let latentSize { sizes[Self.latent] = latentSize }
    let width = latentSize == nil ? Axis.hidden : Axis(Self.latent)
    return MixtureOfExperts(
      router: Router(
        mixer + ".gate", topK: topK, scoring: .sigmoid, normalises: try config.flag("norm_topk_prob", default: true),
        correctionName: mixer + ".gate.e_score_correction_bias", groups: groups,
        scale: try config.number("routed_scaling_factor", default: 1), computesInFloat32: true),
      experts: Experts(
        mixer + ".experts", layout: .separate(gate: nil, up: "up_proj", down: "down_proj"),
        nonlinearity: .activation(activation), width: width),
      latent: latentSize == nil
        ? nil
        : (
          enter: Linear(mixer + ".fc1_latent_proj", [width, .hidden], bias: bias),
          leave: Linear(mixer + ".fc2_latent_proj", [.hidden, width], bias: bias)
        ),
      shared: PlainMLP(
        up: mixer + ".shared_experts.up_proj", down: mixer + ".shared_experts.down_proj", activation: activation,
        bias: bias, channels: .sharedFFN))
  }
}
