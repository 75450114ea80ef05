/// Phi-3, 3.5 and 4 (Abdin et al. 2024, arXiv 2404.14219): fused projections, LongRoPE, in Phi-4-mini part of each
/// head without positions.
public enum Phi3: Family {
  public static let modelTypes = ["phi3"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultEpsilon: 1e-5)
    let original = try config.size("original_max_position_embeddings", default: 4096)
    let rotary = try Rotary(
      config, dimension: decoder.headDim, RotaryFields(partial: 1, maxPositions: 4096, original: original))
    switch rotary.scaling {
    case .none, .longrope: break
    default: throw ModelError("\(config.file): Phi3Config knows no scaled positions but \"longrope\"")
    }
    if case .longrope(let short, _, _, _) = rotary.scaling {
      let part = Double(rotary.dimension) / Double(decoder.headDim)
      let rule = ShapeRule([.hiddenSize, .numAttentionHeads]) { sizes in
        // The loader counts the factors by hidden_size / num_attention_heads, whatever head_dim says.
        Int(Double(sizes[.hidden] / sizes[.heads]) * part) / 2 == short.count
          ? nil : "Phi3Config wants as many LongRoPE factors as hidden_size / num_attention_heads implies"
      }
      decoder.shapeRules = [rule]
    }
    let window = try config.optionalSize("sliding_window")
    let activation = try Activation(config)
    var description = try decoder.describe(
      attention: { [headDim = decoder.headDim] prefix, _ in
        Attention(prefix, headDim: headDim, rotary: rotary, window: window, layout: .stacked("qkv_proj"))
      },
      mlp: { GatedMLP($0, activation: activation, joined: "gate_up_proj") })
    description.recomputesBeyond = original
    return description
  }
}
