import JSON

/// Mixtral 8x7B and 8x22B (Jiang et al. 2024, arXiv 2401.04088; `transformers` modeling_mixtral.py).
public enum Mixtral: Family {
  public static let modelTypes = ["mixtral"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_local_experts", "num_experts"], expertWidthKey: "intermediate_size", topK: 2,
      epsilon: 1e-5)
    try decoder.readHeadDim()
    let attention = Attention(
      decoder.prefix + ".self_attn", headDim: decoder.sizes[.headDim],
      rotary: try Rotary(
        config, dimension: decoder.sizes[.headDim], RotaryFields(theta: 1_000_000, maxPositions: 131_072)),
      window: try config.optionalSize("sliding_window"))
    let block = decoder.prefix + ".block_sparse_moe"
    let experts = MixtureOfExperts(
      router: Router(block + ".gate", topK: decoder.topK, normalises: true),
      experts: Experts(
        block + ".experts", layout: .separate(gate: "w1", up: "w3", down: "w2"),
        nonlinearity: .activation(decoder.activation)))
    return try decoder.describe(attention: { _ in attention }, mlp: { _ in experts })
  }
}
