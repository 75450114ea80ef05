import JSON

/// What Llama and everything shaped like it share: pre-norm attention and gated MLP under the same names.
struct DenseDecoder {
  let config: ConfigReader
  let layers: Int
  let sizes: Sizes
  let epsilon: Double

  /// - Parameter defaultHeadDim: head_dim when the config says none; nil: hidden_size / num_attention_heads.
  init(_ config: ConfigReader, defaultHeadDim: Int? = nil) throws {
    self.config = config
    layers = try config.layerCount("num_hidden_layers")
    let hidden = try config.size("hidden_size")
    let heads = try config.size("num_attention_heads")
    let kvHeads = try config.size("num_key_value_heads", default: heads)
    guard heads % kvHeads == 0 else {
      throw ModelError(
        "\(config.file): num_attention_heads (\(heads)) should be a multiple of num_key_value_heads (\(kvHeads))")
    }
    let implied = defaultHeadDim ?? hidden / heads
    guard implied > 0 || config.has("head_dim") else {
      throw ModelError("\(config.file): hidden_size (\(hidden)) is below num_attention_heads (\(heads))")
    }
    epsilon = try config.positive("rms_norm_eps", default: 1e-6)
    sizes = Sizes([
      .hidden: hidden, .heads: heads, .kvHeads: kvHeads, .headDim: try config.size("head_dim", default: implied),
      .ffn: try config.size("intermediate_size"), .vocabulary: try config.size("vocab_size"),
    ])
  }

  /// - Parameter attention: the attention of a layer, from its names' prefix, head_dim, positions and number (0-based).
  func describe(
    attention: (_ prefix: String, _ headDim: Int, _ rotary: Rotary, _ layer: Int) -> Attention, mlpBias: Bool = false,
    layerLists: [String] = [],
    editConfig: @escaping @Sendable (inout JSON.Object, [Int]) -> Void = { _, _ in },
    refusal: @escaping @Sendable (Sizes) -> String? = { _ in nil }
  ) throws -> ModelDescription {
    let activation = try Activation(config)
    let rotary = try Rotary(config, dimension: sizes[.headDim])
    let prefix = "model.layers.{layer}"
    let mlp = GatedMLP(prefix + ".mlp", activation: activation, bias: mlpBias)
    let descriptions = (0..<layers).map { layer in
      LayerDescription([
        Sublayer(
          norm: Norm(prefix + ".input_layernorm", epsilon: epsilon),
          block: attention(prefix + ".self_attn", sizes[.headDim], rotary, layer)),
        Sublayer(norm: Norm(prefix + ".post_attention_layernorm", epsilon: epsilon), block: mlp),
      ])
    }
    let tied = try config.flag("tie_word_embeddings", default: false)
    return ModelDescription(
      family: try config.string("model_type"), config: config.object, sizes: sizes,
      embedding: Weight("model.embed_tokens.weight", [.vocabulary, .hidden]),
      layers: descriptions,
      finalNorm: Norm("model.norm", epsilon: epsilon),
      head: tied ? nil : Weight("lm_head.weight", [.vocabulary, .hidden]),
      fields: [
        ("hidden_size", .hidden), ("intermediate_size", .ffn), ("num_attention_heads", .heads),
        ("num_key_value_heads", .kvHeads), ("head_dim", .headDim),
      ],
      layerLists: layerLists, editConfig: editConfig, refusal: refusal)
  }

  func describe(
    attention: (_ prefix: String, _ headDim: Int, _ rotary: Rotary) -> Attention, mlpBias: Bool = false,
    refusal: @escaping @Sendable (Sizes) -> String? = { _ in nil }
  ) throws -> ModelDescription {
    try describe(
      attention: { prefix, headDim, rotary, _ in attention(prefix, headDim, rotary) }, mlpBias: mlpBias,
      refusal: refusal)
  }
}

/// Which layers of a Qwen model see only a window: by `layer_types`, else from `max_window_layers` on.
struct WindowedLayers: Sendable {
  private let windows: [Int?]
  private let boundary: Int?

  init(_ config: ConfigReader) throws {
    let layers = try config.layerCount("num_hidden_layers")
    let used = try config.flag("use_sliding_window", default: false)
    let window = used ? try config.size("sliding_window", default: 4096) : nil
    let first = try config.size("max_window_layers", default: 28, atLeast: 0)
    // Said outright once layers go, also where the published default was meant.
    boundary = used || config.has("max_window_layers") ? first : nil
    if let types = try config.optionalStrings("layer_types", count: layers) {
      windows = try types.map { type in
        switch type {
        case "full_attention": return nil
        case "sliding_attention":
          guard let window else {
            throw ModelError("\(config.file): a layer is \"sliding_attention\" without use_sliding_window")
          }
          return window
        default: throw ModelError("\(config.file): layer type \"\(type)\" is not supported for this family")
        }
      }
    } else {
      windows = (0..<layers).map { $0 >= first ? window : nil }
    }
  }

  subscript(layer: Int) -> Int? { windows[layer] }

  /// `max_window_layers` counts the full layers in front: of those that stay, only the kept ones.
  func edit(_ config: inout JSON.Object, kept: [Int]) {
    guard let boundary, kept.count != windows.count else { return }
    config["max_window_layers"] = .int(kept.count { $0 < boundary })
  }
}
