import JSON

/// Qwen1.5-MoE and Qwen2 mixtures of experts (arXiv 2407.10671; `transformers` modeling_qwen2_moe.py): every token
/// also passes a shared expert, weighted by a gate.
public enum Qwen2MoE: Family {
  public static let modelTypes = ["qwen2_moe"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_experts"], expertWidthKey: "moe_intermediate_size", topK: 4)
    try decoder.readHeadDim()
    try decoder.sizes.read(.sharedFFN, "shared_expert_intermediate_size")
    let sparse = try SparseLayers(config)
    if sparse.hasDense { try decoder.readDenseWidth() }
    let headDim = decoder.sizes[.headDim]
    let bias = try config.flag("qkv_bias", default: true)
    let rotary = try Rotary(config, dimension: headDim, RotaryFields(maxPositions: 32768))
    let windows = try AlternatingWindows(config)
    let mlp = decoder.prefix + ".mlp"
    let experts = decoder.qwenExperts(normalises: try config.flag("norm_topk_prob", default: false))
    let dense = GatedMLP(mlp, activation: decoder.activation)
    return try decoder.describe(
      attention: { layer in
        Attention(
          decoder.prefix + ".self_attn", headDim: headDim, rotary: rotary, qkvBias: bias, window: windows[layer])
      },
      mlp: { layer -> any Block in sparse.isDense(layer) ? dense : experts },
      editConfig: { config, kept in
        sparse.edit(&config, kept: kept)
        windows.edit(&config, kept: kept)
      })
  }
}

extension SparseDecoder {
  /// Qwen's mixture with a shared expert that has a gate.
  func qwenExperts(normalises: Bool, layout: Experts.Layout = .gated) -> MixtureOfExperts {
    let mlp = prefix + ".mlp"
    return MixtureOfExperts(
      router: Router(mlp + ".gate", topK: topK, normalises: normalises),
      experts: Experts(mlp + ".experts", layout: layout, nonlinearity: .activation(activation)),
      shared: GatedMLP(mlp + ".shared_expert", activation: activation, channels: .sharedFFN),
      sharedGateName: mlp + ".shared_expert_gate")
  }
}

/// Layers with a window: by `layer_types`, else every other one from the first on (of Qwen2-MoE those in front of
/// `max_window_layers`, where `use_sliding_window` says so).
struct AlternatingWindows: Sendable {
  private let windows: [Int?]

  /// - Parameter always: the window when the config says none, in a family that always has one; nil: only with
  ///   `use_sliding_window`.
  init(_ config: ConfigReader, always: Int? = nil) throws {
    let layers = try config.layerCount("num_hidden_layers")
    let isUsed = try always != nil || config.flag("use_sliding_window", default: false)
    // What is not in use may be anything: `transformers` 5 writes 0.
    let saysNothing = !isUsed || config.object["sliding_window"] == nil
    let window = saysNothing ? always ?? 4096 : try config.optionalSize("sliding_window")
    let last = always == nil ? try config.size("max_window_layers", default: 28, atLeast: 0) : layers
    if let types = try config.optionalStrings("layer_types", count: layers) {
      windows = try types.map { type in
        switch type {
        case "full_attention": return nil
        case "sliding_attention":
          guard isUsed, let window else {
            throw ModelError("\(config.file): a layer is \"sliding_attention\" without a \"sliding_window\" in use")
          }
          return window
        default: throw ModelError("\(config.file): layer type \"\(type)\" is not supported for this family")
        }
      }
    } else {
      windows = (0..<layers).map { isUsed && $0 % 2 == 0 && $0 < last ? window : nil }
    }
  }

  subscript(layer: Int) -> Int? { windows[layer] }

  /// A rule that counts layers is spelled out once layers go.
  func edit(_ config: inout JSON.Object, kept: [Int]) {
    guard kept.count != windows.count, windows.contains(where: { $0 != nil }) else { return }
    config["layer_types"] = .array(kept.map { .text(windows[$0] == nil ? "full_attention" : "sliding_attention") })
  }
}
