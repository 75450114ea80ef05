public import JSON

/// Jamba (AI21 2024, arXiv 2403.19887; `transformers` modeling_jamba.py): the first Mamba's mixers, attention without positions in one of
/// several layers, and after each an MLP or, in one of several, a mixture of experts of its width. Which layers have what follows from
/// their numbers, in configs too: layers go in whole periods.
public enum Jamba: Family {
  public static let modelTypes = ["jamba"]

  /// In which every kind of layer is.
  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["attn_layer_period"] = .int(4)
    config["attn_layer_offset"] = .int(2)
    return config
  }

  public static func describe(_ original: ConfigReader) throws -> ModelDescription {
    // "auto" is as good as nothing.
    let isAuto = original.object["mamba_dt_rank"]?.string == "auto"
    let config = isAuto ? original.without(["mamba_dt_rank"]) : original
    let layers = try config.layerCount("num_hidden_layers")
    var sizes = DeclaredSizes(config, original: original)
    let hidden = try sizes.read(.hidden, "hidden_size")
    sizes[.vocabulary] = try config.size("vocab_size")
    let keys = config.object["num_key_value_heads"] == nil ? 8 : nil
    let heads = try sizes.readHeads(keys: keys)
    guard hidden >= heads || config.has("head_dim") else {
      throw ModelError("\(config.file): hidden_size (\(hidden)) is below num_attention_heads (\(heads))")
    }
    try sizes.read(.headDim, "head_dim", default: hidden / heads)
    try sizes.read(.mambaExpand, "mamba_expand", default: 2, atMost: 1 << 10)
    try sizes.read(.mambaStepRank, "mamba_dt_rank", default: (hidden + 15) / 16)
    sizes[.mambaState] = try MambaConfig.state(config, "mamba_d_state", default: 16)
    sizes[.convKernel] = try MambaConfig.kernel(config, "mamba_d_conv")
    let kinds = try JambaLayers(config, count: layers)
    let prefix = config.weightPrefix + "layers.{layer}"
    let (dense, mixture, rules) = try feedForward(config, kinds, prefix, &sizes)
    let epsilon = try config.positive("rms_norm_eps", default: 1e-6)
    let attention = Attention(prefix + ".self_attn", headDim: sizes[.headDim], rotary: nil)
    let mixer = Mamba1(
      prefix + ".mamba", epsilon: epsilon, activation: try Activation(config),
      bias: try config.flag("mamba_proj_bias", default: false),
      convolutionBias: try config.flag("mamba_conv_bias", default: true))
    func norm(_ name: String) -> Norm { Norm(name, epsilon: epsilon) }
    var description = ModelDescription(
      family: try config.string("model_type"), declared: sizes,
      embedding: Weight(config.weightPrefix + "embed_tokens.weight", [.vocabulary, .hidden]),
      layers: (0..<layers).map { layer in
        LayerDescription([
          Sublayer(norm: norm(prefix + ".input_layernorm"), block: kinds.attends[layer] ? attention : mixer),
          Sublayer(norm: norm(prefix + ".pre_ff_layernorm"), block: kinds.areSparse[layer] ? mixture : dense),
        ])
      },
      finalNorm: norm(config.weightPrefix + "final_layernorm"),
      isTied: try config.flag("tie_word_embeddings", default: false), names: TensorNames(prefix: config.weightPrefix),
      editConfig: kinds.edit, shapeRules: rules + [kinds.rule])
    description.layerStretch = kinds.stretch
    description.refusesLayers = kinds.refusal
    return description
  }

  /// The MLP, the mixture, and what shapes of both have to obey.
  private static func feedForward(
    _ config: ConfigReader, _ kinds: JambaLayers, _ prefix: String, _ sizes: inout DeclaredSizes
  ) throws -> (any Block, any Block, [ShapeRule]) {
    let activation = try Activation(config)
    let dense = GatedMLP(prefix + ".feed_forward", activation: activation)
    if kinds.areSparse.contains(false) { try sizes.read(.ffn, "intermediate_size") }
    guard kinds.areSparse.contains(true) else { return (dense, dense, []) }
    try sizes.read(.moeFFN, "intermediate_size")
    try sizes.read(
      .experts, anyOf: JambaLayers.expertKeys, default: 16,
      atMost: SparseDecoder.largestExpertCount / kinds.areSparse.count)
    let topK = try config.size("num_experts_per_tok", default: 2)
    let enough = ShapeRule.enoughExperts(topK, "num_experts_per_tok")
    try enough.check(sizes, config)
    let several = ShapeRule([.numMoEExperts]) { sizes in
      sizes[.experts] > 1 ? nil : "with num_experts 1 it has no mixtures at all: at least 2 experts have to stay"
    }
    let same = ShapeRule([.ffnHiddenSize, .moeFFNHiddenSize]) { sizes in
      sizes[.ffn] == sizes[.moeFFN]
        ? nil
        : "MLPs and experts share one field, intermediate_size: ffn_hidden_size and moe_ffn_hidden_size have to be equal"
    }
    let mixture = MixtureOfExperts(
      router: Router(prefix + ".feed_forward.router", topK: topK),
      experts: Experts(prefix + ".feed_forward.experts", nonlinearity: .activation(activation)))
    return (dense, mixture, [enough, several] + (kinds.areSparse.contains(false) ? [same] : []))
  }
}

/// Which layers have attention and which have experts: by two periods, in each of which one place has them.
private struct JambaLayers: Sendable {
  static let expertKeys = ["num_experts", "num_local_experts"]
  let attends: [Bool], areSparse: [Bool]
  private let attention: Period, experts: Period
  private let hasExperts: Bool

  /// Every so many layers the one at a place.
  private struct Period: Sendable {
    let length: Int, place: Int
    func has(_ layer: Int) -> Bool { layer % length == place }

    /// The one by which layers are these kinds; nil where there is none.
    func fitting(_ kinds: [Bool]) -> Period? {
      func fits(_ period: Period) -> Bool { kinds.indices.allSatisfy { kinds[$0] == period.has($0) } }
      if fits(self) { return self }
      guard let first = kinds.firstIndex(of: true) else { return Period(length: kinds.count + 1, place: kinds.count) }
      return (first + 1..<kinds.count + 1).lazy.map { Period(length: $0, place: first) }.first(where: fits)
    }
  }

  init(_ config: ConfigReader, count: Int) throws {
    func period(_ name: String, _ length: Int, _ place: Int) throws -> Period {
      let period = Period(
        length: try config.size(name + "_layer_period", default: length),
        place: try config.size(name + "_layer_offset", default: place, atLeast: 0))
      guard period.place < period.length else {
        throw ModelError(
          "\(config.file): \"\(name)_layer_offset\" (\(period.place)) should be below \"\(name)_layer_period\" (\(period.length))"
        )
      }
      return period
    }
    attention = try period("attn", 8, 4)
    experts = try period("expert", 2, 1)
    hasExperts = try config.size(Self.expertKeys.first(where: config.has) ?? Self.expertKeys[0], default: 16) > 1
    attends = (0..<count).map(attention.has)
    areSparse = (0..<count).map { [hasExperts, experts] in hasExperts && experts.has($0) }
  }

  /// Layers after which all is as it was.
  var stretch: Int {
    guard hasExperts else { return attention.length }
    var (a, b) = (attention.length, experts.length)
    while b != 0 { (a, b) = (b, a % b) }
    return attention.length / a * experts.length
  }

  /// The periods of the layers that are left; nil where a config cannot say them.
  private func periods(_ kept: [Int]) -> (attention: Period, experts: Period)? {
    guard let attention = attention.fitting(kept.map { attends[$0] }) else { return nil }
    guard hasExperts else { return (attention, experts) }
    return experts.fitting(kept.map { areSparse[$0] }).map { (attention, $0) }
  }

  /// Of layers that are ranked whole stretches are left.
  var rule: ShapeRule {
    ShapeRule(named: ShapeRule.loader, [.numLayers]) { [stretch, count = attends.count] architecture in
      let left = architecture.layers.count
      return left % stretch == 0 || left == count
        ? nil : "\(Self.reason): num_layers has to be a multiple of \(stretch)"
    }
  }

  private static let reason = "which layers have attention and which have experts follows from their numbers"

  /// Why a config cannot say that these layers are left; nil where it can.
  @Sendable func refusal(_ kept: [Int]) -> String? {
    periods(kept) != nil
      ? nil : "\(Self.reason), and no period fits the layers that are left; drop whole stretches of \(stretch)"
  }

  @Sendable func edit(_ config: inout JSON.Object, _ kept: [Int]) {
    guard kept.count != attends.count, let periods = periods(kept) else { return }
    func write(_ name: String, _ period: Period, unless old: Period) {
      guard period.length != old.length || period.place != old.place else { return }
      config[name + "_layer_period"] = .int(period.length)
      config[name + "_layer_offset"] = .int(period.place)
    }
    write("attn", periods.attention, unless: attention)
    write("expert", periods.experts, unless: experts)
  }
}
