public import JSON

/// The text models of Llama 4 (Meta 2025; `transformers` modeling_llama4.py): attention within chunks with positions, in some layers
/// over everything without positions; mixtures with a shared expert of the experts' size, in all layers or every other.
public enum Llama4: Family {
  public static let modelTypes = ["llama4_text"]

  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["interleave_moe_layer_step"] = .int(2)
    return config
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_local_experts"], expertWidthKey: "intermediate_size", topK: 1, epsilon: 1e-5)
    let isNull = config.object["head_dim"]?.isNull == true
    try decoder.readHeadDim(default: isNull ? nil : 128)
    decoder.sizes[.sharedFFN] = decoder.sizes[.moeFFN]
    let layers = try Llama4Layers(config, count: decoder.layers)
    if layers.areSparse.contains(false) { try decoder.sizes.read(.ffn, "intermediate_size_mlp", default: 16384) }
    let block = decoder.prefix + ".feed_forward"
    let experts = MixtureOfExperts(
      router: Router(block + ".router", topK: decoder.topK, scoring: .sigmoid),
      experts: Experts(
        block + ".experts", layout: .stackedTransposed, nonlinearity: .activation(decoder.activation)),
      shared: GatedMLP(block + ".shared_expert", activation: decoder.activation, channels: .sharedFFN),
      weighsInput: true)
    let dense = GatedMLP(block, activation: decoder.activation)
    let attention = try layers.attention(decoder)
    return try decoder.describe(
      attention: attention, mlp: { layer -> any Block in layers.areSparse[layer] ? experts : dense },
      editConfig: layers.edit,
      shapeRules: [.sharedExpertOfSameSize])
  }
}

/// Which layers of Llama 4 have positions, see chunks alone, and have experts.
private struct Llama4Layers: Sendable {
  let turns: [Bool]
  let areChunked: [Bool]
  let areSparse: [Bool]
  private let chunk: Int?

  init(_ config: ConfigReader, count: Int) throws {
    let listed = config.object["no_rope_layers"]?.array ?? []
    if config.has("no_rope_layers"), !listed.isEmpty || config.object["no_rope_layers"]?.array == nil {
      let flags = listed.compactMap(\.int)
      guard flags.count == count, listed.count == count else {
        throw ModelError("\(config.file): \"no_rope_layers\" should be a list of \(count) zeros and ones")
      }
      turns = flags.map { $0 != 0 }
    } else {
      let interval = try config.size("no_rope_layer_interval", default: 4)
      turns = (1...count).map { $0 % interval != 0 }
    }
    let key = "attention_chunk_size"
    let chunk = try config.optionalSize(key) ?? config.unlessNull(key, 8192)
    let types = try LayerTypes(config, layers: count, kinds: [Self.chunked, LayerTypes.full]) { [turns] layer in
      turns[layer] && chunk != nil ? Self.chunked : LayerTypes.full
    }
    areChunked = types.names.map { $0 == Self.chunked }
    guard chunk != nil || !areChunked.contains(true) else {
      throw ModelError("\(config.file): a layer is \"chunked_attention\", but there is no \"\(key)\"")
    }
    self.chunk = chunk
    if let numbers = try config.layerNumbers("moe_layers") {
      areSparse = (0..<count).map(numbers.contains)
    } else {
      let step = try config.size("interleave_moe_layer_step", default: 1)
      areSparse = (1...count).map { $0 % step == 0 }
    }
  }

  private static let chunked = "chunked_attention"

  /// The attention of a layer.
  func attention(_ decoder: SparseDecoder) throws -> (_ layer: Int) -> any Block {
    let (config, headDim) = (decoder.config, decoder.sizes[.headDim])
    let rotary = try Rotary(
      config, dimension: headDim, RotaryFields(theta: 500_000, maxPositions: 131_072, pairs: .neighbours))
    let bias = try config.flag("attention_bias", default: false)
    let normed = try config.flag("use_qk_norm", default: true)
    let growth =
      try config.flag("attn_temperature_tuning", default: true)
      ? PositionGrowth(
        beta: try config.number("attn_scale", default: 0.1), length: try config.size("floor_scale", default: 8192),
        first: 1)
      : nil
    return { layer in
      let turns = turns[layer]
      return Attention(
        decoder.prefix + ".self_attn", headDim: headDim, rotary: turns ? rotary : nil, qkvBias: bias, outputBias: bias,
        normEpsilon: normed && turns ? decoder.epsilon : nil, normKind: .bare, normsTurned: true,
        chunk: areChunked[layer] ? chunk : nil, growth: turns ? nil : growth)
    }
  }

  /// Rules by a layer's number are spelled out once layers go.
  @Sendable func edit(_ config: inout JSON.Object, _ kept: [Int]) {
    guard kept.count != turns.count else { return }
    config["no_rope_layers"] = .array(kept.map { .int(turns[$0] ? 1 : 0) })
    config["moe_layers"] = .array(kept.indices.filter { areSparse[kept[$0]] }.map { .int($0) })
    if config["layer_types"]?.array != nil {
      config["layer_types"] = .array(kept.map { .text(areChunked[$0] ? Self.chunked : LayerTypes.full) })
    }
  }
}
