/// Falcon-H1 (TII 2025, arXiv 2507.22448; `transformers` modeling_falcon_h1.py): in every layer attention and Mamba-2 side by side,
/// then an MLP, and a factor on nearly everything.
public enum FalconH1: Family {
  public static let modelTypes = ["falcon_h1"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try MambaDecoder(config, epsilon: 1e-5, keys: 8, width: 1024)
    try decoder.sizes.read(.ffn, "intermediate_size")
    func factor(_ name: String) throws -> Double { try config.number(name, default: 1) }
    func factors(_ name: String, _ count: Int) throws -> [Double]? {
      guard config.has(name) else { return nil }
      let list = config.object[name]?.array?.compactMap(\.double) ?? []
      guard list.count == count, config.object[name]?.array?.count == count, list.allSatisfy(\.isFinite) else {
        throw ModelError("\(config.file): \"\(name)\" should be a list of \(count) numbers")
      }
      return list
    }
    let normed = try config.flag("mamba_rms_norm", default: false)
    let order = "mamba_norm_before_gate"
    let after = try config.flag(order, default: config.unlessNull(order, true) ?? false)
    let mixer = try decoder.mixer(
      gating: normed ? (after ? .afterNorm : .beforeNorm) : .alone,
      outputBias: config.flag("projectors_bias", default: false), multipliers: factors("ssm_multipliers", 5))
    let headDim = decoder.sizes[.headDim]
    // Keys are multiplied, and with them all scores.
    let attention = try decoder.attention(
      rotary: Rotary(config, dimension: headDim, RotaryFields(maxPositions: 8192)),
      scale: factor("key_multiplier") / Double(headDim).squareRoot())
    let both = SideBySide([
      SideBySide.Part(mixer, input: try factor("ssm_in_multiplier"), output: try factor("ssm_out_multiplier")),
      SideBySide.Part(
        attention, input: try factor("attention_in_multiplier"), output: try factor("attention_out_multiplier")),
    ])
    let mlp = try factors("mlp_multipliers", 2) ?? [1, 1]
    let embedding = try config.positive("embedding_multiplier", default: 1)
    return try decoder.describe(
      norms: ("input_layernorm", "pre_ff_layernorm", "final_layernorm"), residualScales: (1, mlp[1]),
      mixer: { _ in both },
      mlp: GatedMLP(
        decoder.prefix + ".feed_forward", activation: decoder.activation,
        bias: try config.flag("mlp_bias", default: false), gateScale: mlp[0]),
      scales: OuterScales(embedding: { _ in embedding }, logits: try factor("lm_head_multiplier")))
  }
}
