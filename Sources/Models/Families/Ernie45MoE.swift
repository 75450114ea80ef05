import JSON

/// The mixtures of experts of ERNIE 4.5 (Baidu 2025; `transformers` modeling_ernie4_5_moe.py): routing by softmax with a bias on
/// the choice, shared experts, layers without experts in front.
public enum Ernie45MoE: Family {
  public static let modelTypes = ["ernie4_5_moe"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["moe_num_experts", "num_experts"], expertWidthKey: "moe_intermediate_size",
      topKKey: "moe_k", topK: 6, epsilon: 1e-5)
    decoder.tiedByDefault = true
    try decoder.readHeadDim()
    guard try config.size("moe_layer_interval", default: 1) == 1 else {
      throw ModelError("\(config.file): \"moe_layer_interval\" other than 1 is not supported")
    }
    let first = try config.size("moe_layer_start_index", default: 1, atLeast: 0)
    let end = try config.number("moe_layer_end_index", default: -1)
    let last = end == -1 ? decoder.layers - 1 : Int(min(max(end, -1), Double(decoder.layers)))
    let isDense = (0..<decoder.layers).map { $0 < first || $0 > last }
    if isDense.contains(true) { try decoder.readDenseWidth() }
    let shared = try config.size("moe_num_shared_experts", default: 2, atLeast: 0)
    decoder.sizes[.sharedFFN] = shared * decoder.sizes[.moeFFN]
    let bias = try config.flag("use_bias", default: false)
    let attention = Attention(
      decoder.prefix + ".self_attn", headDim: decoder.sizes[.headDim],
      rotary: try Rotary(
        config, dimension: decoder.sizes[.headDim],
        RotaryFields(theta: 500_000, maxPositions: 131_072, pairs: .neighbours)),
      qkvBias: bias, outputBias: bias)
    let mlp = decoder.prefix + ".mlp"
    let experts = MixtureOfExperts(
      router: Router(
        mlp + ".gate", topK: decoder.topK, normalises: true,
        leastSum: try config.positive("moe_norm_min", default: 1e-12),
        correctionName: mlp + ".moe_statics.e_score_correction_bias", correctionAxes: [.one, .experts],
        computesInFloat32: true),
      experts: Experts(mlp + ".experts", nonlinearity: .activation(decoder.activation)),
      shared: shared == 0
        ? nil
        : GatedMLP(mlp + ".shared_experts", activation: decoder.activation, bias: bias, channels: .sharedFFN))
    let dense = GatedMLP(mlp, activation: decoder.activation, bias: bias)
    let count: @Sendable (Sizes) -> Int = { $0[.sharedFFN] / max($0[.moeFFN], 1) }
    var model = try decoder.describe(
      attention: { _ in attention }, mlp: { layer -> any Block in isDense[layer] ? dense : experts },
      derivedFields: shared == 0 ? [] : [("moe_num_shared_experts", count)],
      editConfig: { config, kept in
        guard kept.count != isDense.count else { return }
        // Layers with experts lie side by side, so those that are kept do.
        let sparse = kept.indices.filter { !isDense[kept[$0]] }
        config["moe_layer_start_index"] = .int(sparse.first ?? kept.count)
        config["moe_layer_end_index"] = .int(sparse.last ?? kept.count)
      },
      shapeRules: [.wholeSharedExperts("moe_num_shared_experts")])
    model.prediction = try prediction(decoder, attention, dense)
    if bias { model.headBias = Weight("lm_head.bias", [.vocabulary]) }
    return model
  }

  /// Layers without experts after the others (`model.mtp_block.0`), as Baidu's checkpoints have them.
  private static func prediction(_ decoder: SparseDecoder, _ attention: Attention, _ mlp: GatedMLP) throws
    -> PredictionModules
  {
    let (prefix, field) = (decoder.config.weightPrefix, "num_nextn_predict_layers")
    let layer = decoder.layer(attention, mlp)
    return PredictionModules(
      prefixes: [prefix + "mtp_"], field: field,
      modules: (0..<(try decoder.config.size(field, default: 1, atLeast: 0, atMost: 64))).map { number in
        [
          Weight(prefix + "mtp_emb_norm.\(number).weight", [.hidden]),
          Weight(prefix + "mtp_hidden_norm.\(number).weight", [.hidden]),
          Weight(prefix + "mtp_linear_proj.\(number).weight", [.hidden, .hidden + .hidden]),
        ] + PredictionModules.renamed(layer, decoder.prefix, to: prefix + "mtp_block.\(number)")
      })
  }
}
