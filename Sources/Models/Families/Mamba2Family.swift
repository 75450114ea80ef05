import JSON

/// Mamba-2 (Dao & Gu 2024, arXiv 2405.21060; `transformers` modeling_mamba2.py): one mixer a layer and nothing else.
public enum Mamba2Family: Family {
  public static let modelTypes = ["mamba2"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    try config.refuse(
      "rescale_prenorm_residual",
      "transformers 5 divides the weights of out_proj by it whenever it loads them; set it to false, which the weights are stored for"
    )
    var sizes = DeclaredSizes(config)
    let hidden = try sizes.read(.hidden, "hidden_size", default: 4096)
    let heads = try sizes.read(.mambaHeads, "num_heads", default: 128)
    let headDim = try sizes.read(.mambaHeadDim, "head_dim", default: 64)
    let expand = try config.size("expand", default: 2)
    guard hidden * expand == heads * headDim else {
      throw ModelError(
        "\(config.file): hidden_size × expand (\(hidden) × \(expand)) should equal num_heads × head_dim "
          + "(\(heads) × \(headDim))")
    }
    let groups = try MambaConfig.groups(config, heads: heads, headsKey: "num_heads")
    let epsilon = try config.positive("layer_norm_epsilon", default: 1e-5)
    var settings = Mamba2.Settings(
      groups: groups, epsilon: epsilon, activation: try Activation(config),
      stepLimit: try MambaConfig.range(config, "time_step_limit"), bias: try config.flag("use_bias", default: false),
      convolutionBias: try config.flag("use_conv_bias", default: true))
    settings.stateBytes = try MambaConfig.stateBytes(config)
    let layer = LayerDescription([
      Sublayer(
        norm: Norm("backbone.layers.{layer}.norm", epsilon: epsilon),
        block: Mamba2("backbone.layers.{layer}.mixer", settings: settings))
    ])
    sizes[.vocabulary] = try config.size("vocab_size", default: 32768)
    sizes[.mambaGroups] = groups
    sizes[.mambaState] = try MambaConfig.state(config, "state_size")
    sizes[.convKernel] = try MambaConfig.kernel(config)
    return ModelDescription(
      family: "mamba2", declared: sizes,
      embedding: Weight("backbone.embeddings.weight", [.vocabulary, .hidden]),
      layers: Array(
        repeating: layer,
        count: try config.size("num_hidden_layers", default: 64, atMost: ConfigReader.largestLayerCount)),
      finalNorm: Norm("backbone.norm_f", epsilon: epsilon),
      isTied: try config.flag("tie_word_embeddings", default: false), names: TensorNames(prefix: "backbone."),
      editConfig: { config, _ in
        guard let hidden = config["hidden_size"]?.int, let heads = config["num_heads"]?.int,
          let headDim = config["head_dim"]?.int, hidden > 0
        else { return }
        if config["expand"]?.int ?? 2 != heads * headDim / hidden { config["expand"] = .int(heads * headDim / hidden) }
        if config["intermediate_size"] != nil { config["intermediate_size"] = .int(heads * headDim) }
      },
      shapeRules: [
        ShapeRule([.hiddenSize, .mambaNumHeads, .mambaHeadDim]) { sizes in
          sizes[.mambaHeads] * sizes[.mambaHeadDim] % sizes[.hidden] == 0
            ? nil : "Mamba2Config wants num_heads × head_dim to be a multiple of hidden_size (its \"expand\")"
        }
      ])
  }
}
