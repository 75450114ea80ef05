import JSON

/// Which layers of a Gemma 4 model see what, with which heads, and whose keys and values they read.
struct Gemma4Layers: Sendable {
  let types: LayerTypes
  let headDim: Int
  /// Of layers that see all tokens.
  let globalHeadDim: Int
  private let globalKeyHeads: Int
  private let keyHeads: Int
  /// Whether those layers' sizes are others.
  var hasOwnHeadDim: Bool { globalHeadDim != headDim }
  var hasOwnKeyHeads: Bool { globalKeyHeads != keyHeads }
  /// Whether those layers take values from the projection of keys.
  let keysAreValues: Bool
  /// By layer that has no keys and values of its own, the layer whose it reads: the last of its kind that has some.
  let borrowing: [Int: Int]
  private var count: Int { types.names.count }

  init(_ config: ConfigReader) throws {
    let layers = try config.layerCount("num_hidden_layers")
    var listed = try LayerTypes(config, layers: layers, period: 6)
    listed.endWithFull()
    types = listed
    keysAreValues = try config.flag("attention_k_eq_v", default: false)
    headDim = try config.size("head_dim", default: 256)
    keyHeads = try config.size("num_key_value_heads", default: 4)
    if config.object["per_layer_config"] != nil {
      let own = try Self.overrides(config, types)
      globalHeadDim = try own?.size("head_dim", default: headDim) ?? headDim
      globalKeyHeads = try own?.size("num_key_value_heads", default: keyHeads) ?? keyHeads
    } else {
      globalHeadDim = try config.size("global_head_dim", default: 512)
      // Without one projection for both the field is there and does nothing.
      globalKeyHeads = keysAreValues ? try config.size("num_global_key_value_heads", default: keyHeads) : keyHeads
    }
    guard keyHeads % globalKeyHeads == 0 else {
      throw ModelError(
        "\(config.file): layers that see all tokens have \(globalKeyHeads) key-value heads, and others \(keyHeads): only a number "
          + "that divides the others' is supported")
    }
    borrowing = try Self.borrowing(config, types)
  }

  /// What layers that see all tokens have in `per_layer_config`, where `transformers` writes it; nil for nothing.
  private static func overrides(_ config: ConfigReader, _ types: LayerTypes) throws -> ConfigReader? {
    guard let section = try config.section("per_layer_config") else { return nil }
    var found: [Int: JSON] = [:]
    for (key, value) in section.object {
      guard let layer = Int(key.description), types.names.indices.contains(layer), let own = value.object else {
        throw ModelError("\(section.file), \"\(key)\": should be an object under the number of a layer, from 0 on")
      }
      for (name, _) in own where !["head_dim", "num_key_value_heads"].contains(name.description) {
        throw ModelError(
          "\(section.file), \"\(key)\": layers of their own \"\(name)\" are not supported; head_dim and num_key_value_heads are"
        )
      }
      guard !types.isSliding(layer) else {
        throw ModelError(
          "\(section.file), \"\(key)\": this layer has a window; only layers that see all are read there")
      }
      found[layer] = value
    }
    let full = types.names.indices.filter { !types.isSliding($0) }
    guard let one = full.first.flatMap({ found[$0] }), full.allSatisfy({ found[$0] == one }), let object = one.object
    else { throw ModelError("\(section.file): layers that see all tokens have to be alike there") }
    return ConfigReader(object, file: section.file)
  }

  private static func borrowing(_ config: ConfigReader, _ types: LayerTypes) throws -> [Int: Int] {
    let count = types.names.count
    let shared = try config.size("num_kv_shared_layers", default: 0, atLeast: 0)
    guard shared < count else {
      throw ModelError(
        "\(config.file): \"num_kv_shared_layers\" (\(shared)) leaves no layer with keys and values, which is not supported"
      )
    }
    let first = count - shared
    return try Dictionary(
      uniqueKeysWithValues: (first..<count).map { layer in
        guard let lender = types.names[..<first].lastIndex(of: types.names[layer]) else {
          throw ModelError(
            "\(config.file): \"num_kv_shared_layers\" (\(shared)) leaves no layer of type \"\(types.names[layer])\" with keys and values"
          )
        }
        return (layer, lender)
      })
  }

  /// Takes the sizes in.
  func readSizes(_ sizes: inout DeclaredSizes, headDim: Int) throws {
    if hasOwnHeadDim { sizes[.globalHeadDim] = globalHeadDim }
    if hasOwnKeyHeads { sizes[.globalKVHeads] = globalKeyHeads }
  }

  /// Layers that lend keys and values, and the last one: `transformers` has it see all tokens whatever the config says.
  var required: (layers: Set<Int>, reason: String) {
    let lent = borrowing.isEmpty ? "" : "later layers read the keys and values of some layers, and "
    return (
      Set(borrowing.values).union([count - 1]), lent + "the architecture's own loader has the last layer see all tokens"
    )
  }

  /// Tensors that checkpoints may have and that nothing reads, as `transformers` passes over them.
  func unread(prefix: String) -> [(prefix: String, note: String)] {
    borrowing.keys.sorted().flatMap { layer in
      ["k_proj", "v_proj", "k_norm", "v_norm"].map { name in
        (
          "\(prefix)layers.\(layer).self_attn.\(name).",
          "projections of keys and values in layers that read those of earlier layers are left out: nothing reads them"
        )
      }
    }
  }

  /// Says of each layer whose keys and values lie beside its states.
  func connect(_ layers: inout [LayerDescription], _ sizes: Sizes) {
    // Whichever layers are left out, the same lies beside the states of each: all that was made before it.
    func rides(_ layer: Int) -> [KeyRide] {
      Set(borrowing.values).filter { $0 < layer && layer < count }.sorted().map {
        let isSliding = types.isSliding($0)
        return KeyRide(
          layer: $0, channels: 2 * (isSliding ? keyHeads : globalKeyHeads) * (isSliding ? headDim : globalHeadDim))
      }
    }
    for layer in layers.indices { (layers[layer].incoming, layers[layer].outgoing) = (rides(layer), rides(layer + 1)) }
  }

  /// Positions of one kind of layers; nil where there are none of it.
  func rotary(_ config: ConfigReader, _ kind: String, headDim: Int) throws -> Rotary? {
    guard types.names.contains(kind) else { return nil }
    guard
      config.has("rope_parameters") || config.object["rope_parameters"] == nil
        || config.object["rope_parameters"]?.isNull == true
    else { throw ModelError("\(config.file): \"rope_parameters\" is empty; leave it out for Gemma 4's own positions") }
    guard let parameters = try config.section("rope_parameters") else {
      return kind == LayerTypes.full
        ? Rotary(
          dimension: headDim, theta: 1_000_000, scaling: .proportional(pairs: headDim / 8, factor: 1),
          maxPositions: 131_072)
        : Rotary(dimension: headDim, theta: 10_000, scaling: .none, maxPositions: 131_072)
    }
    guard let section = try parameters.section(kind) else {
      throw ModelError("\(parameters.file) has no section \"\(kind)\", which layers of this model have")
    }
    // What a section does not say stands beside the sections.
    let theta = try section.positive("rope_theta", default: config.optionalNumber("rope_theta"))
    switch try section.string("rope_type", default: section.string("type", default: "default")) {
    case "default", "linear":
      return try Rotary(
        config, section: section, dimension: headDim, theta: theta, partial: nil, original: nil,
        maxPositions: 131_072)
    case "proportional":
      let part = try section.number(
        "partial_rotary_factor", default: config.optionalNumber("partial_rotary_factor") ?? 1)
      guard part >= 0, part <= 1 else {
        throw ModelError("\(section.file): \"partial_rotary_factor\" should be from 0 to 1, found \(part)")
      }
      return Rotary(
        dimension: headDim, theta: theta,
        scaling: .proportional(
          pairs: Int((part * Double(headDim) / 2).rounded(.down)), factor: try section.positive("factor", default: 1)),
        maxPositions: 131_072)
    case let type:
      throw ModelError(
        "\(section.file): rope type \"\(type)\" is not supported for this family; supported are default, linear, proportional"
      )
    }
  }

  /// Layers that are left have other numbers, and fewer of them read others' keys.
  func edit(_ config: inout JSON.Object, kept: [Int]) {
    guard kept.count != count else { return }
    types.edit(&config, kept: kept)
    if !borrowing.isEmpty { config["num_kv_shared_layers"] = .int(kept.count { borrowing[$0] != nil }) }
    guard let own = config["per_layer_config"]?.object else { return }
    var renumbered = JSON.Object()
    for (position, layer) in kept.enumerated() {
      for (key, value) in own where Int(key.description) == layer { renumbered["\(position)"] = value }
    }
    config["per_layer_config"] = .object(renumbered)
  }
}
