public import JSON

/// LFM2 (Liquid AI 2025, arXiv 2511.23404; `transformers` modeling_lfm2.py): short convolutions in most layers, attention in some, an MLP
/// after each, whose width older configs give by a rule.
public enum LFM2: Family {
  public static let modelTypes = ["lfm2"]

  public static func sample(modelType: String) -> JSON.Object { ShortConvolutionDecoder.sample(modelType) }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try ShortConvolutionDecoder(config, attends: Self.attends)
    let isAdjusted = try config.flag("block_auto_adjust_ff_dim", default: true)
    decoder.sizes[.ffn] = try Self.width(config, isAdjusted: isAdjusted)
    let mlp = decoder.mlp
    // An older name holds where both are there.
    let widthKeys = ["intermediate_size"] + (config.object["block_ff_dim"] == nil ? [] : ["block_ff_dim"])
    return try decoder.describe(
      mlp: { _ in mlp }, derivedFields: widthKeys.map { ($0, { $0[.ffn] }) },
      editConfig: { [attends = decoder.attends] config, kept in
        // A width that is written is said outright from now on.
        if isAdjusted, widthKeys.contains(where: { config[$0] != nil }) {
          config["block_auto_adjust_ff_dim"] = .bool(false)
        }
        guard kept.count != attends.count, config["full_attn_idxs"]?.array != nil else { return }
        config["full_attn_idxs"] = .array(kept.indices.filter { attends[kept[$0]] }.map { .int($0) })
      })
  }

  /// The width of MLPs: two thirds of what the config says, rounded up to a multiple, or just that.
  private static func width(_ config: ConfigReader, isAdjusted: Bool) throws -> Int {
    let said = try config.size(
      config.object["block_ff_dim"] == nil ? "intermediate_size" : "block_ff_dim", default: 12288)
    guard isAdjusted else { return said }
    let part = 2 * said / 3
    let key = "block_ffn_dim_multiplier"
    guard let factor = try config.optionalNumber(key) ?? config.unlessNull(key, 1) else { return part }
    let multiple = try config.size("block_multiple_of", default: 256)
    let scaled = factor * Double(part)
    guard scaled >= 1, scaled <= Double(ConfigReader.largestSize) else {
      throw ModelError("\(config.file): \"\(key)\" (\(factor)) makes the width of MLPs \(scaled)")
    }
    return multiple * ((Int(scaled) + multiple - 1) / multiple)
  }

  /// `layer_types`, else the layers in `full_attn_idxs`, else all.
  private static func attends(_ config: ConfigReader, layers: Int) throws -> [Bool] {
    if let listed = try ShortConvolutionDecoder.listed(config, layers: layers) { return listed }
    let numbers = try config.layerNumbers("full_attn_idxs")
    return (0..<layers).map { numbers?.contains($0) ?? true }
  }
}

/// LFM2's mixtures (`transformers` modeling_lfm2_moe.py): experts after the first few layers, routed by sigmoid.
public enum LFM2MoE: Family {
  public static let modelTypes = ["lfm2_moe"]

  public static func sample(modelType: String) -> JSON.Object {
    var config = ShortConvolutionDecoder.sample(modelType)
    config["num_dense_layers"] = .int(1)
    return config
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try ShortConvolutionDecoder(config) { config, layers in
      guard let listed = try ShortConvolutionDecoder.listed(config, layers: layers) else {
        throw ModelError(
          "\(config.file): \"layer_types\" should say which layers are \"conv\" and which \"full_attention\"")
      }
      return listed
    }
    let layers = decoder.layers
    let dense = try config.size("num_dense_layers", default: 2, atLeast: 0)
    if dense > 0 { try decoder.sizes.read(.ffn, "intermediate_size", default: 7168) }
    let mlp = decoder.mlp
    guard dense < layers else { return try decoder.describe(mlp: { _ in mlp }) }
    try decoder.sizes.read(.experts, "num_experts", default: 32, atMost: SparseDecoder.largestExpertCount / layers)
    try decoder.sizes.read(.moeFFN, "moe_intermediate_size", default: 1792)
    let topK = try config.size("num_experts_per_tok", default: 4)
    let rule = ShapeRule.enoughExperts(topK, "num_experts_per_tok")
    try rule.check(decoder.sizes, config)
    let block = decoder.prefix + ".feed_forward"
    let experts = MixtureOfExperts(
      router: Router(
        block + ".gate", topK: topK, scoring: .sigmoid, normalises: try config.flag("norm_topk_prob", default: true),
        hair: 1e-6,
        correctionName: try config.flag("use_expert_bias", default: true) ? block + ".expert_bias" : nil,
        scale: try config.number("routed_scaling_factor", default: 1)),
      experts: Experts(
        block + ".experts", layout: .separate(gate: "w1", up: "w3", down: "w2"), nonlinearity: .activation(.silu)))
    return try decoder.describe(
      mlp: { layer -> any Block in layer < dense ? mlp : experts },
      editConfig: { config, kept in
        guard kept.count != layers else { return }
        config["num_dense_layers"] = .int(kept.count { $0 < dense })
      }, shapeRules: [rule])
  }
}

/// What LFM2's generations share.
struct ShortConvolutionDecoder {
  let config: ConfigReader
  let layers: Int
  /// Which layers have attention.
  let attends: [Bool]
  var sizes: DeclaredSizes
  private let epsilon: Double

  init(_ config: ConfigReader, attends: (_ config: ConfigReader, _ layers: Int) throws -> [Bool]) throws {
    self.config = config
    layers = try config.layerCount("num_hidden_layers")
    self.attends = try attends(config, layers)
    epsilon = try config.positive("norm_eps", default: 1e-5)
    sizes = DeclaredSizes(config)
    let hidden = try sizes.read(.hidden, "hidden_size")
    sizes[.vocabulary] = try config.size("vocab_size")
    let heads = try sizes.readHeads(keys: 8)
    guard hidden >= heads || config.has("head_dim") else {
      throw ModelError("\(config.file): hidden_size (\(hidden)) is below num_attention_heads (\(heads))")
    }
    try sizes.read(.headDim, "head_dim", default: hidden / heads)
    sizes[.convKernel] = try MambaConfig.kernel(config, "conv_L_cache", default: 3)
  }

  var prefix: String { config.weightPrefix + "layers.{layer}" }

  /// The MLP of layers without experts.
  var mlp: GatedMLP { GatedMLP(prefix + ".feed_forward", activation: .silu, names: ("w1", "w3", "w2")) }

  /// What `layer_types` says; nil where there is none.
  static func listed(_ config: ConfigReader, layers: Int) throws -> [Bool]? {
    try config.optionalStrings("layer_types", count: layers)?.map { name in
      switch name {
      case "conv": return false
      case LayerTypes.full, "attention": return true
      default: throw ModelError("\(config.file): layer type \"\(name)\" is not supported for this family")
      }
    }
  }

  static func sample(_ modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["layer_types"] = .array(["conv", "full_attention", "conv", "full_attention"].map { .text($0) })
    return config
  }

  func describe(
    mlp: (_ layer: Int) -> any Block, derivedFields: [(key: String, value: @Sendable (Sizes) -> Int)] = [],
    editConfig: @escaping @Sendable (inout JSON.Object, [Int]) -> Void = { _, _ in }, shapeRules: [ShapeRule] = []
  ) throws -> ModelDescription {
    let convolution = ShortConvolution(prefix + ".conv", bias: try config.flag("conv_bias", default: false))
    let headDim = sizes[.headDim]
    let attention = Attention(
      prefix + ".self_attn", headDim: headDim,
      rotary: try Rotary(config, dimension: headDim, RotaryFields(theta: 1_000_000, maxPositions: 128_000)),
      normEpsilon: epsilon, normNames: ("q_layernorm", "k_layernorm"), outputName: "out_proj")
    func norm(_ name: String) -> Norm { Norm(name, epsilon: epsilon) }
    // An older name of the field holds where both are there.
    let tie = config.object["tie_embedding"] == nil ? "tie_word_embeddings" : "tie_embedding"
    var description = ModelDescription(
      family: try config.string("model_type"), declared: sizes,
      embedding: Weight(config.weightPrefix + "embed_tokens.weight", [.vocabulary, .hidden]),
      layers: (0..<layers).map { layer in
        let mixer: any Block = attends[layer] ? attention : convolution
        return LayerDescription([
          Sublayer(norm: norm(prefix + ".operator_norm"), block: mixer),
          Sublayer(norm: norm(prefix + ".ffn_norm"), block: mlp(layer)),
        ])
      },
      finalNorm: norm(config.weightPrefix + "embedding_norm"), isTied: try config.flag(tie, default: true),
      names: TensorNames(prefix: config.weightPrefix), derivedFields: derivedFields + otherWidths,
      editConfig: editConfig, shapeRules: shapeRules)
    description.tieField = tie
    return description
  }

  /// Fields that say the hidden size once more, for other programs.
  private var otherWidths: [(key: String, value: @Sendable (Sizes) -> Int)] {
    ["block_dim", "conv_dim", "conv_dim_out"].filter { config.object[$0]?.int == sizes[.hidden] }
      .map { (key: $0, value: { $0[.hidden] }) }
  }
}
