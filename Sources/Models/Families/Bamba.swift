public import JSON

/// Bamba (IBM, Princeton, CMU and UIUC 2024; `transformers` modeling_bamba.py): Mamba-2 in most layers, attention with positions
/// in half of each head in some, an MLP after each.
public enum Bamba: Family {
  public static let modelTypes = ["bamba"]

  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["attn_layer_indices"] = .array([.int(1)])
    return config
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try MambaDecoder(config, epsilon: 1e-5, keys: 8)
    try decoder.sizes.read(.ffn, "intermediate_size")
    let attending = try config.layerNumbers("attn_layer_indices") ?? []
    let mixer = try decoder.mixer()
    // What the config has outside the section of positions is overwritten with a half.
    let attention = try decoder.attention(
      rotary: Rotary(
        config.without(["partial_rotary_factor"]), dimension: decoder.sizes[.headDim],
        RotaryFields(partial: 0.5, maxPositions: 262_144)))
    return try decoder.describe(
      norms: ("input_layernorm", "pre_ff_layernorm", "final_layernorm"),
      mixer: { layer -> any Block in attending.contains(layer) ? attention : mixer },
      mlp: GatedMLP(
        decoder.prefix + ".feed_forward", activation: decoder.activation,
        bias: try config.flag("mlp_bias", default: false)),
      editConfig: { [layers = decoder.layers] config, kept in
        guard kept.count != layers, config["attn_layer_indices"]?.array != nil else { return }
        config["attn_layer_indices"] = .array(kept.indices.filter { attending.contains(kept[$0]) }.map { .int($0) })
      })
  }
}
