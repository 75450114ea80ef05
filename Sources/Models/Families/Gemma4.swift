public import JSON

/// The text model of Gemma 4 (Google 2026; `transformers` modeling_gemma4.py). Layers that see all tokens have heads of another size
/// than those with a window, perhaps fewer of keys and values, and may take values from the projection of keys. Smaller models have
/// inputs of every layer's own for each token (`LayerInputs`), and last layers that read keys and values of earlier ones; larger ones
/// a mixture of experts beside the MLP.
public enum Gemma4: Family {
  public static let modelTypes = ["gemma4_text"]
  public static let readsLayerConfigs = true

  /// Positions are given for each kind of layer, or not at all.
  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["rope_parameters"] = nil
    return config
  }

  /// Dense, and with experts.
  public static func samples(modelType: String) -> [JSON.Object] {
    let dense = sample(modelType: modelType)
    var mixture = dense
    mixture["enable_moe_block"] = .bool(true)
    mixture["top_k_experts"] = .int(4)
    return [dense, mixture]
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let kinds = try Gemma4Layers(config)
    var dense = try DenseDecoder(config, defaultHeadDim: 256, defaultKVHeads: 4)
    dense.normKind = .rmsWide
    dense.tiedByDefault = true
    dense.scales = OuterScales(
      embedding: { Double($0[.hidden]).squareRoot() },
      softcap: try GemmaDecoder.softcap(config, "final_logit_softcapping", default: nil))
    guard try config.string("use_bidirectional_attention", default: "vision") == "vision" else {
      throw ModelError(
        "\(config.file): \"use_bidirectional_attention\" says that tokens see those after them, which no causal language model does"
      )
    }
    try kinds.readSizes(&dense.sizes, headDim: dense.headDim)
    if kinds.hasOwnKeyHeads || !kinds.borrowing.isEmpty { dense.fixed.insert(.numQueryGroups) }
    let experts = try Gemma4Mixture(config, &dense)
    let inputs = try config.size("hidden_size_per_layer_input", default: 256, atLeast: 0)
    if inputs > 0 {
      dense.sizes[.layerInput] = inputs
      dense.sizes[.layers] = dense.layers
      dense.sizes[.layerInputVocabulary] = try config.size("vocab_size_per_layer_input", default: 262_144)
      guard dense.sizes[.layerInputVocabulary] >= dense.sizes[.vocabulary] else {
        throw ModelError("\(config.file): \"vocab_size_per_layer_input\" is below \"vocab_size\"")
      }
    }
    dense.dropped = kinds.unread(prefix: config.weightPrefix)
    dense.editConfig = { config, kept in
      kinds.edit(&config, kept: kept)
    }
    if let experts { dense.shapeRules.append(experts.rule) }
    let attention = try Gemma4Attention(config, kinds, epsilon: dense.epsilon)
    let activation = try Activation(config, key: "hidden_activation", default: "gelu_pytorch_tanh")
    let isDoubled = try config.flag("use_double_wide_mlp", default: false)
    let (prefix, decoder) = (dense.prefix, dense)
    func norm(_ name: String) -> Norm { decoder.norm(prefix + "." + name) }
    var layers = (0..<dense.layers).map { layer in
      let isWide = isDoubled && kinds.borrowing[layer] != nil
      let mlp = GatedMLP(prefix + ".mlp", activation: activation, channels: isWide ? Axis(.doubleFFN) : .ffn)
      let after = norm("post_feedforward_layernorm")
      var branches = [
        Sublayer(
          norm: norm("input_layernorm"), block: attention.block(prefix + ".self_attn", layer),
          postNorm: norm("post_attention_layernorm")),
        Sublayer(
          norm: norm("pre_feedforward_layernorm"), block: mlp,
          postNorm: experts == nil ? after : norm("post_feedforward_layernorm_1")),
      ]
      if let experts {
        branches.append(
          Sublayer(
            norm: norm("pre_feedforward_layernorm_2"), block: experts.block(prefix, activation),
            postNorm: norm("post_feedforward_layernorm_2"), jointNorm: after))
      }
      if inputs > 0 {
        branches.append(
          Sublayer(
            norm: nil, block: LayerInputGate(prefix, activation: activation),
            postNorm: norm("post_per_layer_input_norm"), isRanked: false))
      }
      return LayerDescription(
        branches, scalar: Weight(prefix + ".layer_scalar", [.one]),
        keyHeads: kinds.hasOwnKeyHeads && !kinds.types.isSliding(layer) ? .globalKVHeads : .kvHeads)
    }
    kinds.connect(&layers, dense.sizes.sizes)
    var description = try dense.describe(layers: layers)
    if inputs > 0 {
      description.layerInputs = LayerInputs(
        config.weightPrefix, hidden: dense.sizes[.hidden], epsilon: dense.epsilon)
    }
    description.required = kinds.required
    description.wantsBOS = true
    return description
  }
}

/// The attention of its layers.
private struct Gemma4Attention {
  private let kinds: Gemma4Layers
  private let epsilon: Double
  private let window: Int
  private let bias: Bool
  private let full: Rotary?, sliding: Rotary?

  init(_ config: ConfigReader, _ kinds: Gemma4Layers, epsilon: Double) throws {
    (self.kinds, self.epsilon) = (kinds, epsilon)
    window = try config.size("sliding_window", default: 512)
    bias = try config.flag("attention_bias", default: false)
    full = try kinds.rotary(config, LayerTypes.full, headDim: kinds.globalHeadDim)
    sliding = try kinds.rotary(config, LayerTypes.sliding, headDim: kinds.headDim)
  }

  func block(_ prefix: String, _ layer: Int) -> Attention {
    let isSliding = kinds.types.isSliding(layer)
    let isLent = kinds.borrowing.values.contains(layer)
    let keys: Attention.Keys =
      if let lender = kinds.borrowing[layer] {
        .borrowed(from: lender)
      } else if kinds.keysAreValues && !isSliding {
        .joint(isLent: isLent)
      } else {
        .own(isLent: isLent)
      }
    return Attention(
      prefix, headDim: isSliding ? kinds.headDim : kinds.globalHeadDim, rotary: isSliding ? sliding : full,
      qkvBias: bias, outputBias: bias, normEpsilon: epsilon, normKind: .rmsWide, window: isSliding ? window : nil,
      scale: 1, head: isSliding || !kinds.hasOwnHeadDim ? .headDim : Axis(.globalHeadDim),
      keyHeads: isSliding || !kinds.hasOwnKeyHeads ? .kvHeads : Axis(.globalKVHeads), keys: keys,
      valueEpsilon: kinds.borrowing[layer] == nil ? epsilon : nil)
  }
}

/// The experts that stand beside its MLPs.
private struct Gemma4Mixture {
  private let topK: Int
  private let epsilon: Double
  private let hidden: Int
  let rule: ShapeRule

  /// nil for a dense model.
  init?(_ config: ConfigReader, _ dense: inout DenseDecoder) throws {
    guard try config.flag("enable_moe_block", default: false) else { return nil }
    try dense.sizes.read(.experts, "num_experts", atMost: SparseDecoder.largestExpertCount / dense.layers)
    try dense.sizes.read(.moeFFN, "moe_intermediate_size")
    topK = try config.size("top_k_experts")
    (epsilon, hidden) = (dense.epsilon, dense.sizes[.hidden])
    rule = .enoughExperts(topK, "top_k_experts")
    try rule.check(dense.sizes, config)
  }

  /// - Parameter prefix: of the layer.
  func block(_ prefix: String, _ activation: Activation) -> MixtureOfExperts {
    MixtureOfExperts(
      router: Router(
        prefix + ".router.proj", topK: topK, normalises: true,
        streamGain: (prefix + ".router.scale", epsilon, 1 / Double(hidden).squareRoot()),
        expertScaleName: prefix + ".router.per_expert_scale"),
      experts: Experts(prefix + ".experts", layout: .stacked(), nonlinearity: .activation(activation)))
  }
}
