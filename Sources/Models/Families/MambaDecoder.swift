import JSON

/// What models share that have Mamba-2 mixers in place of attention, or beside it, and an MLP in every layer: IBM's hybrids and
/// Falcon-H1. Each says by its own fields what its mixers add up to.
struct MambaDecoder {
  let config: ConfigReader
  let layers: Int
  let epsilon: Double
  let activation: Activation
  var sizes: DeclaredSizes
  private let original: ConfigReader
  /// Whether the width of mixers is a field of its own; otherwise it is `mamba_expand` times the hidden size.
  private let hasOwnWidth: Bool

  /// - Parameters:
  ///   - epsilon: of norms when the config says none.
  ///   - keys: heads of keys and values when the config says none; nil: as many as heads.
  ///   - width: channels of a mixer when the config has no `mamba_d_ssm`; nil for families without that field.
  init(_ original: ConfigReader, epsilon fallback: Double, keys: Int?, width: Int? = nil) throws {
    // "auto" is as good as nothing.
    let isAuto = original.object["mamba_d_head"]?.string == "auto"
    config = isAuto ? original.without(["mamba_d_head"]) : original
    self.original = original
    layers = try config.layerCount("num_hidden_layers")
    epsilon = try config.positive("rms_norm_eps", default: fallback)
    activation = try Activation(config)
    sizes = DeclaredSizes(config, original: original)
    let hidden = try sizes.read(.hidden, "hidden_size")
    sizes[.vocabulary] = try config.size("vocab_size")
    try sizes.readHeads(keys: keys)
    guard hidden >= sizes[.heads] || config.has("head_dim") else {
      throw ModelError("\(config.file): hidden_size (\(hidden)) is below num_attention_heads (\(sizes[.heads]))")
    }
    try sizes.read(.headDim, "head_dim", default: hidden / sizes[.heads])
    let heads = try sizes.read(.mambaHeads, "mamba_n_heads", default: 128)
    let expand = try config.size("mamba_expand", default: 2, atMost: 1 << 10)
    hasOwnWidth = width != nil
    var inner = hidden * expand
    if let width, let own = try config.optionalSize("mamba_d_ssm") ?? config.unlessNull("mamba_d_ssm", width) {
      inner = own
    }
    let headDim = try sizes.read(.mambaHeadDim, "mamba_d_head", default: max(inner / heads, 1))
    guard heads * headDim == inner else {
      throw ModelError(
        "\(config.file): mamba_n_heads × mamba_d_head (\(heads) × \(headDim)) should equal "
          + (inner == hidden * expand ? "hidden_size × mamba_expand (\(hidden) × \(expand))" : "mamba_d_ssm (\(inner))")
      )
    }
    sizes[.mambaGroups] = try MambaConfig.groups(
      config, heads: heads, headsKey: "mamba_n_heads", key: "mamba_n_groups", default: 1)
    sizes[.mambaState] = try MambaConfig.state(config, "mamba_d_state", default: 256)
    sizes[.convKernel] = try MambaConfig.kernel(config, "mamba_d_conv")
  }

  var prefix: String { config.weightPrefix + "layers.{layer}" }

  /// - Parameters:
  ///   - gating: what stands between the scan and the projection back.
  ///   - outputBias: whether the projection back has a bias; nil: as the other.
  ///   - multipliers: factors on z, x, B, C and Δ.
  func mixer(
    gating: Mamba2.Settings.Gating = .beforeNorm, outputBias: Bool? = nil, multipliers: [Double]? = nil
  ) throws -> Mamba2 {
    let bias = "mamba_conv_bias"
    return Mamba2(
      prefix + ".mamba",
      settings: Mamba2.Settings(
        groups: sizes[.mambaGroups], gating: gating, epsilon: epsilon, activation: activation,
        stepLimit: try MambaConfig.range(config, "time_step_limit"),
        bias: try config.flag("mamba_proj_bias", default: false), outputBias: outputBias,
        convolutionBias: try config.flag(bias, default: config.unlessNull(bias, true) ?? false),
        multipliers: multipliers))
  }

  /// Attention with heads of keys and values, and biases in all projections or in none.
  ///
  /// - Parameters:
  ///   - rotary: its positions; nil for none.
  ///   - scale: on scores; nil for 1 / √head_dim.
  func attention(rotary: Rotary?, scale: Double? = nil) throws -> Attention {
    let bias = try config.flag("attention_bias", default: false)
    return Attention(
      prefix + ".self_attn", headDim: sizes[.headDim], rotary: rotary, qkvBias: bias, outputBias: bias, scale: scale)
  }

  /// - Parameters:
  ///   - norms: the names of the norms before mixer and MLP, and of the last one.
  ///   - residualScales: the factors on what mixer and MLP add.
  ///   - mixer: that of a layer (0-based).
  ///   - mlp: the MLP or mixture of every layer.
  ///   - scales: on embeddings and logits.
  ///   - editConfig: further edits of the pruned config for the layers that are kept.
  ///   - shapeRules: what the family's loader wants beyond whole multiples of the hidden size.
  func describe(
    norms: (mixer: String, mlp: String, last: String), residualScales: (mixer: Double, mlp: Double) = (1, 1),
    mixer: (_ layer: Int) throws -> any Block, mlp: any Block, scales: OuterScales = OuterScales(),
    editConfig: @escaping @Sendable (inout JSON.Object, [Int]) -> Void = { _, _ in }, shapeRules: [ShapeRule] = []
  ) throws -> ModelDescription {
    func norm(_ name: String) -> Norm { Norm(name, epsilon: epsilon) }
    func branch(_ name: String, _ block: any Block, _ scale: Double) -> Sublayer {
      Sublayer(norm: norm(prefix + "." + name), block: block, residualScale: scale == 1 ? nil : scale)
    }
    @Sendable func width(_ sizes: Sizes) -> Int { sizes[.mambaHeads] * sizes[.mambaHeadDim] }
    @Sendable func expand(_ sizes: Sizes) -> Int { width(sizes) / max(sizes[.hidden], 1) }
    let rule = ShapeRule([.hiddenSize, .mambaNumHeads, .mambaHeadDim]) { sizes in
      width(sizes) % sizes[.hidden] == 0
        ? nil
        : "the config says the width of Mamba layers as mamba_expand × hidden_size, so mamba_num_heads × mamba_head_dim has to "
          + "be a multiple of hidden_size"
    }
    return ModelDescription(
      family: try config.string("model_type"), declared: sizes,
      embedding: Weight(config.weightPrefix + "embed_tokens.weight", [.vocabulary, .hidden]),
      layers: try (0..<layers).map { layer in
        LayerDescription([
          branch(norms.mixer, try mixer(layer), residualScales.mixer), branch(norms.mlp, mlp, residualScales.mlp),
        ])
      },
      finalNorm: norm(config.weightPrefix + norms.last),
      isTied: try config.flag("tie_word_embeddings", default: false), names: TensorNames(prefix: config.weightPrefix),
      derivedFields: hasOwnWidth ? [("mamba_d_ssm", width)] : [("mamba_expand", expand)],
      scales: scales, editConfig: editConfig, shapeRules: (hasOwnWidth ? [] : [rule]) + shapeRules)
  }
}
