public import JSON

/// What NVIDIA's architecture search made of Llama: Llama-Nemotron Super 49B, Ultra 253B and 51B (Bercovich et al. 2024,
/// arXiv 2411.19146; vLLM's nemotron_nas.py, for `transformers` has no code). Each layer has key-value heads and an MLP's width of its
/// own, lacks attention or MLP with its norm, or has a linear map in the place of one.
public enum NemotronNAS: Family {
  public static let modelTypes = ["nemotron-nas"]

  /// A layer of each kind.
  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    (config["num_key_value_heads"], config["intermediate_size"]) = (.null, .null)
    func block(_ attention: (String, JSON), _ ffn: (String, JSON)) -> JSON {
      .object([("attention", .object([attention])), ("ffn", .object([ffn]))])
    }
    config["block_configs"] = .array([
      block(("n_heads_in_group", .int(4)), ("ffn_mult", .double(5.25))),
      block(("no_op", .bool(true)), ("ffn_mult", .double(1.3125))),
      block(("n_heads_in_group", .int(2)), ("no_op", .bool(true))),
      block(("replace_with_linear", .bool(true)), ("intermediate_size", .int(1000))),
    ])
    return config
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, layersDiffer: true)
    // No number of the whole model says what becomes of widths and groups that differ.
    decoder.fixed = [.ffnHiddenSize, .numQueryGroups]
    let blocks = try LayerBlocks.all(config, layers: decoder.layers, decoder.sizes)
    let bias = try attentionBias(config)
    let mlpBias = try config.flag("mlp_bias", default: false)
    let rotary = try Rotary(config, dimension: decoder.headDim)
    let prefix = decoder.prefix
    let layers = blocks.enumerated().map { layer, blocks in
      var branches: [Sublayer] = []
      func add(_ norm: String, _ block: any Block) {
        branches.append(Sublayer(norm: decoder.norm(prefix + "." + norm), block: block))
      }
      switch blocks.attention {
      case .absent: break
      case .linear: add("input_layernorm", LinearReplacement(prefix + ".self_attn.linear_attn"))
      case .sized(let keyHeads):
        decoder.sizes[.kvHeads, inLayer: layer] = keyHeads
        let name = prefix + ".self_attn"
        add(
          "input_layernorm",
          Attention(name, headDim: decoder.headDim, rotary: rotary, qkvBias: bias, outputBias: bias))
      }
      switch blocks.mlp {
      case .absent: break
      case .linear: add("post_attention_layernorm", LinearReplacement(prefix + ".mlp.linear_mlp"))
      case .sized(let width):
        decoder.sizes[.ffn, inLayer: layer] = width
        add("post_attention_layernorm", GatedMLP(prefix + ".mlp", activation: blocks.activation, bias: mlpBias))
      }
      return LayerDescription(branches)
    }
    // Of heads each layer's groups lose the same number, so that what is left is a multiple of every layer's groups.
    decoder.sizes[.kvHeads] = blocks.compactMap(\.keyHeads).reduce(1, leastCommonMultiple)
    guard layers.contains(where: \.cachesTokens) else {
      throw ModelError(
        "\(config.file): by \"block_configs\" no layer has attention, so tokens would not see each other")
    }
    var model = try decoder.describe(layers: layers)
    model.isNative = false
    model.writeLayers = { config, architecture in
      config["block_configs"] = .array(
        try architecture.layers.map { try blocks[$0].entry(architecture.sizes(inLayer: $0), layer: $0) })
    }
    return model
  }

  /// Whether all projections of attention have biases; loaders differ in what they make of others than that.
  private static func attentionBias(_ config: ConfigReader) throws -> Bool {
    let bias = try config.flag("attention_bias", default: false)
    for key in ["bias", "qkv_bias", "o_proj_bias"] where try config.flag(key, default: bias) != bias {
      throw ModelError("\(config.file): \"\(key)\" should be as \"attention_bias\", \(bias): others are not supported")
    }
    guard try config.string("position_embedding_type", default: "rope") == "rope" else {
      throw ModelError("\(config.file): \"position_embedding_type\" should be \"rope\": others are not supported")
    }
    return bias
  }

  private static func leastCommonMultiple(_ a: Int, _ b: Int) -> Int {
    var (divisor, rest) = (a, b)
    while rest > 0 { (divisor, rest) = (rest, divisor % rest) }
    return a / divisor * b
  }
}
