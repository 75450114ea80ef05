import Foundation
import JSON

/// Hunyuan 0.5B to 7B (Tencent 2025; `transformers` modeling_hunyuan_v1_dense.py): Llama with norms of each head's queries and
/// keys after they have turned, and a base of positions that is stretched for good.
public enum Hunyuan: Family {
  public static let modelTypes = ["hunyuan_v1_dense"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let decoder = try DenseDecoder(config, defaultEpsilon: 1e-5)
    let (headDim, epsilon) = (decoder.headDim, decoder.epsilon)
    let rotary = try rotary(config, dimension: headDim)
    let bias = try config.flag("attention_bias", default: false)
    let activation = try Activation(config)
    return try decoder.describe(
      attention: { prefix, _ in
        Attention(
          prefix, headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias, normEpsilon: epsilon,
          normNames: ("query_layernorm", "key_layernorm"), normsTurned: true)
      },
      mlp: { GatedMLP($0, activation: activation) })
  }

  /// Positions called "dynamic" with an "alpha" do not depend on the length: alpha stretches the base.
  fileprivate static func rotary(_ config: ConfigReader, dimension: Int) throws -> Rotary {
    let read = try Rotary(config, dimension: dimension)
    guard case .dynamic = read.scaling, let alpha = try config.ropeSection()?.optionalNumber("alpha"), alpha != 0 else {
      return read
    }
    guard alpha > 0 else {
      throw ModelError("\(config.file): \"alpha\" of its positions should be a number above zero, found \(alpha)")
    }
    let theta = read.theta * pow(alpha, Double(dimension) / Double(dimension - 2))
    return Rotary(dimension: dimension, theta: theta, scaling: .none, maxPositions: read.maxPositions)
  }
}

/// Hunyuan-A13B (`transformers` modeling_hunyuan_v1_moe.py): every layer has experts and a shared one, of the same size.
public enum HunyuanMoE: Family {
  public static let modelTypes = ["hunyuan_v1_moe"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_experts"], expertWidthKey: "intermediate_size", topKKey: "moe_topk", topK: 1,
      epsilon: 1e-5)
    try decoder.readHeadDim()
    decoder.sizes[.sharedFFN] = decoder.sizes[.moeFFN]
    let bias = try config.flag("attention_bias", default: false)
    let attention = Attention(
      decoder.prefix + ".self_attn", headDim: decoder.sizes[.headDim],
      rotary: try Hunyuan.rotary(config, dimension: decoder.sizes[.headDim]), qkvBias: bias, outputBias: bias,
      normEpsilon: decoder.epsilon, normNames: ("query_layernorm", "key_layernorm"), normsTurned: true)
    let mlp = decoder.prefix + ".mlp"
    let experts = MixtureOfExperts(
      router: Router(mlp + ".gate.wg", topK: decoder.topK, normalises: true),
      experts: Experts(mlp + ".experts", nonlinearity: .activation(decoder.activation)),
      shared: GatedMLP(mlp + ".shared_mlp", activation: decoder.activation, channels: .sharedFFN))
    return try decoder.describe(
      attention: { _ in attention }, mlp: { _ in experts },
      editConfig: { config, kept in
        // Other programs read the experts' size here.
        guard let size = config["intermediate_size"], let other = config["moe_intermediate_size"] else { return }
        config["moe_intermediate_size"] = other.array == nil ? size : .array(kept.map { _ in size })
      },
      shapeRules: [.sharedExpertOfSameSize])
  }
}

extension ShapeRule {
  /// One field for the size of routed experts and of the shared one.
  static let sharedExpertOfSameSize = ShapeRule([.moeFFNHiddenSize, .moeSharedExpertIntermediateSize]) { sizes in
    sizes[.sharedFFN] == sizes[.moeFFN]
      ? nil
      : "intermediate_size is the size of routed and shared experts both, so moe_shared_expert_intermediate_size "
        + "has to be moe_ffn_hidden_size"
  }
}
