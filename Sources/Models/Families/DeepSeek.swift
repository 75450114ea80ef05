import Foundation
public import JSON

/// DeepSeek-V2 (arXiv 2405.04434; `transformers` modeling_deepseek_v2.py): latent attention, dense layers in front,
/// shared experts, routing by softmax, limited to groups in the large models.
public enum DeepSeekV2: Family {
  public static let modelTypes = ["deepseek_v2"]

  public static func sample(modelType: String) -> JSON.Object { LatentSample.config(modelType) }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let method = try config.string("topk_method", default: "greedy")
    guard ["greedy", "group_limited_greedy"].contains(method) else {
      throw ModelError("\(config.file): \"topk_method\" \"\(method)\" is not supported for this family")
    }
    var decoder = try DeepSeekDecoder(config, latent: DeepSeekDecoder.Latent(), defaultDense: 0)
    let groups = method == "greedy" ? nil : try decoder.readGroups(score: .best)
    // `transformers` does not normalise here, whatever norm_topk_prob says.
    return try decoder.describe(
      router: { name, topK in
        Router(
          name, topK: topK, groups: groups, scale: try config.positive("routed_scaling_factor", default: 1),
          computesInFloat32: true)
      },
      attention: { [attention = try decoder.latentAttention(interleaved: true, maxPositions: 2048)] _ in attention },
      mlpBias: config.flag("mlp_bias", default: false),
      shapeRules: [
        ShapeRule([.hiddenSize]) { sizes in
          sizes[.hidden] % sizes[.heads] == 0
            ? nil : "DeepseekV2Config wants hidden_size to be a multiple of num_attention_heads"
        }
      ])
  }
}

/// DeepSeek-V3, V3.1 and R1 (arXiv 2412.19437; `transformers` modeling_deepseek_v3.py), and Kimi K2, which is computed by
/// the same code: routing by sigmoid with a bias on the choice, and modules that predict further tokens. Results of Kimi K2 say
/// `deepseek_v3`, since `transformers` has no class by its own name.
public enum DeepSeekV3: Family {
  public static let modelTypes = ["deepseek_v3", "kimi_k2"]

  public static func sample(modelType: String) -> JSON.Object { LatentSample.config(modelType) }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DeepSeekDecoder(config, latent: DeepSeekDecoder.Latent(), defaultDense: 3, topK: 8)
    let router = try decoder.sigmoidRouter(groups: 8, chosen: 4, normalises: true, scale: 2.5)
    let attention = try decoder.latentAttention(
      interleaved: config.flag("rope_interleave", default: true), maxPositions: 4096)
    return try decoder.describe(
      router: router, attention: { _ in attention },
      edit: { config, _ in config["model_type"] = .text("deepseek_v3") })
  }
}

/// What DeepSeek's generations share, and those who took their mixture.
struct DeepSeekDecoder {
  /// Sizes of latent attention when the config does not mention them; of the rank of queries an explicit null means none.
  struct Latent {
    var (rank, plain, turning, value, latent) = (1536, 128, 64, 128, 512)
  }

  var base: SparseDecoder
  private let isLatent: Bool
  /// Layers without experts: the first few, or those that a list names.
  private let isDense: [Bool]
  private let isListed: Bool
  private var groups: Router.Groups?
  private var config: ConfigReader { base.config }

  /// - Parameters:
  ///   - latent: nil for attention with heads of keys and values.
  ///   - defaultDense: first_k_dense_replace when the config does not mention it.
  ///   - listsDense: whether `mlp_layer_types` says which layers have no experts, in place of first_k_dense_replace.
  ///   - countsDense: whether first_k_dense_replace says it all the same where there is no list.
  ///   - epsilon: of norms when the config says none.
  init(
    _ config: ConfigReader, latent: Latent?, defaultDense: Int, listsDense: Bool = false, countsDense: Bool = false,
    topK: Int? = nil, epsilon: Double = 1e-6
  ) throws {
    isLatent = latent != nil
    base = try SparseDecoder(
      config, expertsKeys: ["n_routed_experts"], expertWidthKey: "moe_intermediate_size", topK: topK,
      hasKeyHeads: !isLatent, epsilon: epsilon)
    guard try config.size("moe_layer_freq", default: 1) == 1 else {
      throw ModelError("\(config.file): \"moe_layer_freq\" other than 1 is not supported")
    }
    isListed = listsDense && !(countsDense && !config.has("mlp_layer_types"))
    if isListed {
      let types =
        try config.optionalStrings("mlp_layer_types", count: base.layers)
        ?? (0..<base.layers).map { $0 < defaultDense ? "dense" : "sparse" }
      if let other = types.first(where: { !["dense", "sparse"].contains($0) }) {
        throw ModelError("\(config.file): \"mlp_layer_types\" has \"\(other)\"; a layer is \"dense\" or \"sparse\"")
      }
      isDense = types.map { $0 == "dense" }
    } else {
      let dense = try config.size("first_k_dense_replace", default: defaultDense, atLeast: 0)
      isDense = (0..<base.layers).map { $0 < dense }
    }
    if isDense.contains(true) { try base.readDenseWidth() }
    if let latent {
      for (dimension, fallback) in [
        (LatentAttention.plain, latent.plain), (LatentAttention.turning, latent.turning),
        (LatentAttention.valueDim, latent.value), (LatentAttention.latent, latent.latent),
      ] { base.sizes[dimension] = try config.size(dimension.name, default: fallback) }
      let rankKey = LatentAttention.queryRank.name
      base.sizes[LatentAttention.queryRank] =
        config.object[rankKey] == nil ? latent.rank : try config.optionalSize(rankKey) ?? 0
    } else {
      try base.readHeadDim()
    }
    base.sizes[.sharedFFN] =
      try config.size("n_shared_experts", default: latent == nil || countsDense ? 1 : nil) * base.sizes[.moeFFN]
  }

  /// Takes the groups of experts in.
  mutating func readGroups(score: Router.Groups.Score, count: Int = 1, chosen: Int = 1) throws -> Router.Groups {
    let groups = Router.Groups(
      count: try config.size("n_group", default: count), chosen: try config.size("topk_group", default: chosen),
      score: score)
    if let reason = groups.refusal(experts: base.sizes[.experts], topK: base.topK) {
      throw ModelError("\(config.file): \(reason)")
    }
    base.sizes[.expertGroups] = groups.count
    self.groups = groups
    return groups
  }

  /// DeepSeek-V3's router, with these values where the config says none.
  mutating func sigmoidRouter(groups count: Int = 1, chosen: Int = 1, normalises: Bool, scale: Double) throws
    -> (_ name: String, _ topK: Int) throws -> Router
  {
    let groups = try readGroups(score: .sumOfBestTwo, count: count, chosen: chosen)
    // `transformers` takes an explicit null for false.
    let normalises = try config.flag(
      "norm_topk_prob", default: config.unlessNull("norm_topk_prob", normalises) ?? false)
    let scale = try config.positive("routed_scaling_factor", default: scale)
    return { name, topK in
      Router(
        name, topK: topK, scoring: .sigmoid, normalises: normalises, correctionName: name + ".e_score_correction_bias",
        groups: groups, scale: scale, computesInFloat32: true)
    }
  }

  func latentAttention(interleaved: Bool, maxPositions: Int, picking: TokenPicking = .none) throws -> LatentAttention {
    LatentAttention(
      base.prefix + ".self_attn", sizes: base.sizes.sizes,
      rotary: try Rotary(
        config, dimension: base.sizes[LatentAttention.turning], RotaryFields(maxPositions: maxPositions)),
      interleaved: interleaved,
      bias: try config.flag("attention_bias", default: false), scale: try scale(),
      picking: picking)
  }

  func describe(
    router: (_ name: String, _ topK: Int) throws -> Router, attention: (_ layer: Int) throws -> any Block,
    mlpBias: Bool = false, shapeRules: [ShapeRule] = [],
    edit: @escaping @Sendable (inout JSON.Object, [Int]) -> Void = { _, _ in }
  ) throws -> ModelDescription {
    let mlp = base.prefix + ".mlp"
    let experts = MixtureOfExperts(
      router: try router(mlp + ".gate", base.topK),
      experts: Experts(mlp + ".experts", nonlinearity: .activation(base.activation)),
      shared: GatedMLP(
        mlp + ".shared_experts", activation: base.activation, bias: mlpBias,
        channels: .sharedFFN))
    let front = GatedMLP(mlp, activation: base.activation, bias: mlpBias)
    let (isDense, isListed, groups, topK, layers) = (isDense, isListed, groups, base.topK, base.layers)
    var model = try base.describe(
      attention: attention, mlp: { layer -> any Block in isDense[layer] ? front : experts },
      derivedFields: [("n_shared_experts", { $0[.sharedFFN] / max($0[.moeFFN], 1) })],
      fixed: isLatent ? [.numAttentionHeads] : [],
      editConfig: { config, kept in
        edit(&config, kept)
        guard kept.count != layers else { return }
        if isListed { config["mlp_layer_types"] = .array(kept.map { .text(isDense[$0] ? "dense" : "sparse") }) }
        if !isListed || config["first_k_dense_replace"] != nil {
          config["first_k_dense_replace"] = .int(kept.count { isDense[$0] })
        }
      },
      shapeRules: [
        .wholeSharedExperts("n_shared_experts"),
        ShapeRule([.numMoEExperts]) { groups?.refusal(experts: $0[.experts], topK: topK) },
      ] + shapeRules)
    model.prediction = try prediction(base.layer(attention(0), experts))
    return model
  }

  /// Layers after the last, numbered on, each with an embedding and a head of its own that are the model's.
  private func prediction(_ layer: LayerDescription) throws -> PredictionModules? {
    let count = try config.size("num_nextn_predict_layers", default: 0, atLeast: 0, atMost: 64)
    let prefix = base.prefix + "."
    let module =
      PredictionModules.stem(prefix, norms: ["enorm", "hnorm"], map: "eh_proj") + layer.weights
      + [Weight(prefix + "shared_head.norm.weight", [.hidden])]
      + ["embed_tokens", "shared_head.head"].map { Weight(prefix + $0 + ".weight", [.vocabulary, .hidden]) }
    return count == 0
      ? nil
      : PredictionModules(
        prefixes: (0..<count).map { config.weightPrefix + "layers.\(base.layers + $0)." },
        field: "num_nextn_predict_layers",
        modules: Array(repeating: module, count: count))
  }

  /// `1 / √(channels of a head)`, times the square of YaRN's attention factor where the config asks for it.
  private func scale() throws -> Double {
    let plain = 1 / Double(base.sizes[LatentAttention.plain] + base.sizes[LatentAttention.turning]).squareRoot()
    guard let section = try config.ropeSection() else { return plain }
    let type = try section.string("rope_type", default: section.string("type", default: "default"))
    let all = try section.number("mscale_all_dim", default: 0)
    guard type != "default", all != 0 else { return plain }
    let factor = try section.positive("factor")
    let magnitude = factor <= 1 ? 1 : 0.1 * all * log(factor) + 1
    return plain * magnitude * magnitude
  }
}

/// Models with latent attention have as many key-value heads as heads.
enum LatentSample {
  static func config(_ modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["num_key_value_heads"] = config["num_attention_heads"]
    return config
  }
}

extension ShapeRule {
  /// - Parameter key: the config field that counts shared experts.
  static func wholeSharedExperts(_ key: String) -> ShapeRule {
    ShapeRule([.moeFFNHiddenSize, .moeSharedExpertIntermediateSize]) { sizes in
      sizes[.sharedFFN] % max(sizes[.moeFFN], 1) == 0
        ? nil
        : "the config can only say the shared experts' size as \(key) × moe_intermediate_size, so "
          + "moe_shared_expert_intermediate_size has to be a multiple of moe_ffn_hidden_size"
    }
  }
}
