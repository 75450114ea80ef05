/// MiniMax-M2 (MiniMax 2025; `transformers` modeling_minimax_m2.py): Mixtral with routing by sigmoid and a bias on the choice, norms
/// over all heads' queries and keys, and positions in a part of each head.
public enum MiniMaxM2: Family {
  public static let modelTypes = ["minimax_m2"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_local_experts", "num_experts"], expertWidthKey: "intermediate_size", topK: 8)
    try decoder.readHeadDim(default: 128)
    let headDim = decoder.sizes[.headDim]
    // Published configs say how many channels turn; a part of the head goes before it.
    let turning = try config.optionalSize("rotary_dim") ?? headDim
    let attention = Attention(
      decoder.prefix + ".self_attn", headDim: headDim,
      rotary: try Rotary(
        config, dimension: headDim,
        RotaryFields(theta: 5_000_000, partial: Double(turning) / Double(headDim), maxPositions: 196_608)),
      normEpsilon: decoder.epsilon, normSpan: .projection)
    let block = decoder.prefix + ".block_sparse_moe"
    let experts = MixtureOfExperts(
      router: Router(
        block + ".gate", topK: decoder.topK, scoring: .sigmoid, normalises: true,
        correctionName: block + ".e_score_correction_bias"),
      experts: Experts(
        block + ".experts", layout: .separate(gate: "w1", up: "w3", down: "w2"),
        nonlinearity: .activation(decoder.activation)))
    return try decoder.describe(attention: { _ in attention }, mlp: { _ in experts })
  }
}
