public import JSON

/// The text models of Ministral 3 (Mistral AI 2025; `transformers` modeling_ministral3.py): Mistral with YaRN and queries that
/// grow with the logarithm of their position.
public enum Ministral3: Family {
  public static let modelTypes = ["ministral3"]

  /// Positions are given with a growth of queries, or not at all.
  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["rope_parameters"] = nil
    return config
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let maxPositions = try config.size("max_position_embeddings", default: 262_144)
    let fields = RotaryFields(
      maxPositions: maxPositions,
      section: JSON.Object([
        ("rope_type", .text("yarn")), ("rope_theta", .double(1_000_000)), ("factor", .double(16)),
        ("original_max_position_embeddings", .int(16_384)), ("beta_fast", .double(32)), ("beta_slow", .double(1)),
        ("mscale_all_dim", .double(1)), ("mscale", .double(1)), ("llama_4_scaling_beta", .double(0.1)),
      ]))
    let section = try config.ropeSection(or: fields.section) ?? config
    let beta = try section.number("llama_4_scaling_beta")
    let type = try section.string("rope_type", default: section.string("type", default: "default"))
    let isStretched = ["llama3", "yarn", "longrope"].contains(type)
    // What lies beside the section goes before what is in it, for those types that know it.
    let length =
      try (isStretched ? config.optionalSize("original_max_position_embeddings") : nil)
      ?? section.size("original_max_position_embeddings", default: isStretched ? maxPositions : nil)
    let window = try config.optionalSize("sliding_window")
    return try DenseDecoder(
      config, defaultHeadDim: config.unlessNull("head_dim", 128),
      defaultKVHeads: config.unlessNull("num_key_value_heads", 8), defaultEpsilon: 1e-5
    ).describe(
      attention: {
        Attention(
          $0, headDim: $1, rotary: $2, window: window, growth: PositionGrowth(beta: beta, length: length))
      }, positions: fields)
  }
}
