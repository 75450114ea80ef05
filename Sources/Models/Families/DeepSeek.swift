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
    var decoder = try DeepSeekDecoder(config, defaultRank: 1536, defaultDense: 0, topK: nil)
    let groups = method == "greedy" ? nil : try decoder.readGroups(score: .best)
    // `transformers` does not normalise here, whatever norm_topk_prob says.
    return try decoder.describe(
      router: { name, topK in
        Router(
          name, topK: topK, groups: groups, scale: try config.positive("routed_scaling_factor", default: 1),
          computesInFloat32: true)
      },
      interleaved: true, maxPositions: 2048, mlpBias: config.flag("mlp_bias", default: false),
      shapeRules: [
        ShapeRule([.hiddenSize]) { sizes in
          sizes[.hidden] % sizes[.heads] == 0
            ? nil : "DeepseekV2Config wants hidden_size to be a multiple of num_attention_heads"
        }
      ])
  }
}

/// DeepSeek-V3, V3.1 and R1 (arXiv 2412.19437; `transformers` modeling_deepseek_v3.py): routing by sigmoid with a
/// bias on the choice. The modules that predict further tokens are left out.
public enum DeepSeekV3: Family {
  public static let modelTypes = ["deepseek_v3"]

  public static func sample(modelType: String) -> JSON.Object { LatentSample.config(modelType) }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DeepSeekDecoder(config, defaultRank: 1536, defaultDense: 3, topK: 8)
    let groups = try decoder.readGroups(score: .sumOfBestTwo, count: 8, chosen: 4)
    return try decoder.describe(
      router: { name, topK in
        Router(
          name, topK: topK, scoring: .sigmoid, normalises: try config.flag("norm_topk_prob", default: true),
          correctionName: name + ".e_score_correction_bias", groups: groups,
          scale: try config.positive("routed_scaling_factor", default: 2.5), computesInFloat32: true)
      },
      interleaved: config.flag("rope_interleave", default: true), maxPositions: 4096)
  }
}

/// What DeepSeek's generations share.
struct DeepSeekDecoder {
  private var base: SparseDecoder
  private let dense: Int
  private var groups: Router.Groups?
  private var config: ConfigReader { base.config }

  /// - Parameters:
  ///   - defaultRank: q_lora_rank when the config does not mention it; an explicit null means none.
  ///   - defaultDense: first_k_dense_replace when the config does not mention it.
  init(_ config: ConfigReader, defaultRank: Int, defaultDense: Int, topK: Int?) throws {
    base = try SparseDecoder(
      config, expertsKeys: ["n_routed_experts"], expertWidthKey: "moe_intermediate_size", topK: topK, hasKeyHeads: false
    )
    guard try config.size("moe_layer_freq", default: 1) == 1 else {
      throw ModelError("\(config.file): \"moe_layer_freq\" other than 1 is not supported")
    }
    dense = min(try config.size("first_k_dense_replace", default: defaultDense, atLeast: 0), base.layers)
    if dense > 0 { try base.readDenseWidth() }
    for (dimension, fallback) in [
      (LatentAttention.plain, 128), (LatentAttention.turning, 64), (LatentAttention.valueDim, 128),
      (LatentAttention.latent, 512),
    ] { base.sizes[dimension] = try config.size(dimension.name, default: fallback) }
    let rankKey = LatentAttention.queryRank.name
    base.sizes[LatentAttention.queryRank] =
      config.object[rankKey] == nil ? defaultRank : try config.optionalSize(rankKey) ?? 0
    base.sizes[.sharedFFN] = try config.size("n_shared_experts") * base.sizes[.moeFFN]
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

  func describe(
    router: (_ name: String, _ topK: Int) throws -> Router, interleaved: Bool, maxPositions: Int, mlpBias: Bool = false,
    shapeRules: [ShapeRule] = []
  ) throws -> ModelDescription {
    let attention = LatentAttention(
      base.prefix + ".self_attn", sizes: base.sizes.sizes,
      rotary: try Rotary(
        config, dimension: base.sizes[LatentAttention.turning], RotaryFields(maxPositions: maxPositions)),
      interleaved: interleaved,
      bias: try config.flag("attention_bias", default: false), scale: try scale())
    let mlp = base.prefix + ".mlp"
    let experts = MixtureOfExperts(
      router: try router(mlp + ".gate", base.topK),
      experts: Experts(mlp + ".experts", nonlinearity: .activation(base.activation)),
      shared: GatedMLP(
        mlp + ".shared_experts", activation: base.activation, bias: mlpBias,
        channels: .sharedFFN))
    let front = GatedMLP(mlp, activation: base.activation, bias: mlpBias)
    let (dense, groups, topK, layers) = (dense, groups, base.topK, base.layers)
    let extra = try config.size("num_nextn_predict_layers", default: 0, atLeast: 0, atMost: 64)
    return try base.describe(
      attention: { _ in attention }, mlp: { layer -> any Block in layer < dense ? front : experts },
      derivedFields: [("n_shared_experts", { $0[.sharedFFN] / max($0[.moeFFN], 1) })],
      dropped: (0..<extra).map { module in
        (
          prefix: config.weightPrefix + "layers.\(layers + module).",
          note: "the multi-token-prediction module (layer \(layers + module + 1)) is left behind: it was trained "
            + "on the whole model's hidden states; the pruned config says num_nextn_predict_layers 0"
        )
      },
      fixed: [.numAttentionHeads],
      editConfig: { config, kept in
        if extra > 0 { config["num_nextn_predict_layers"] = .int(0) }
        if kept.count != layers { config["first_k_dense_replace"] = .int(kept.count { $0 < dense }) }
      },
      shapeRules: [
        ShapeRule([.moeFFNHiddenSize, .moeSharedExpertIntermediateSize]) { sizes in
          sizes[.sharedFFN] % max(sizes[.moeFFN], 1) == 0
            ? nil
            : "the config can only say the shared experts' size as n_shared_experts × moe_intermediate_size, so "
              + "moe_shared_expert_intermediate_size has to be a multiple of moe_ffn_hidden_size"
        },
        ShapeRule([.numMoEExperts]) { groups?.refusal(experts: $0[.experts], topK: topK) },
      ] + shapeRules)
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
private enum LatentSample {
  static func config(_ modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["num_key_value_heads"] = config["num_attention_heads"]
    return config
  }
}
