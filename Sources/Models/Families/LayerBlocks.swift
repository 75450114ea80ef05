import JSON

/// What one layer of a `NemotronNAS` model consists of: an entry of `block_configs`.
struct LayerBlocks: Sendable {
  enum Part: Sendable {
    case absent
    /// A linear map in its place.
    case linear
    /// Key-value heads of attention, channels of an MLP.
    case sized(Int)
  }

  let attention: Part
  let mlp: Part
  let activation: Activation
  private let object: JSON.Object

  var keyHeads: Int? { if case .sized(let heads) = attention { heads } else { nil } }

  /// Those of all layers.
  ///
  /// - Parameter sizes: of the model, its heads and hidden size read.
  /// - Throws: `ModelError` naming the layer and the field that is wrong or asks for what is not supported.
  static func all(_ config: ConfigReader, layers: Int, _ sizes: DeclaredSizes) throws -> [LayerBlocks] {
    let found = config.object["block_configs"]
    guard let entries = found?.array, entries.count == layers else {
      let what = found.map { $0.array.map { "a list of \($0.count)" } ?? "\($0.kind)" } ?? "nothing"
      throw ModelError(
        "\(config.file): \"block_configs\" should be a list of \(layers) objects, one for each layer, found \(what)")
    }
    let activation = try Activation(config)
    return try entries.enumerated().map { layer, entry in
      let place = "\(config.file), \"block_configs\", layer \(layer + 1)"
      guard let object = entry.object else {
        throw ModelError("\(place): should be an object, found \(entry.kind): \(entry.serialized().prefix(60))")
      }
      return try LayerBlocks(
        ConfigReader(object, file: place), heads: sizes[.heads], hidden: sizes[.hidden], activation)
    }
  }

  private init(_ entry: ConfigReader, heads: Int, hidden: Int, _ activation: Activation) throws {
    object = entry.object
    try Self.refuseOthers(entry, ["attention", "ffn"])
    let (attention, ffn) = (try Self.section("attention", entry), try Self.section("ffn", entry))
    self.attention = try Self.part(attention, ["n_heads_in_group"]) {
      let group = try attention.size("n_heads_in_group")
      guard heads % group == 0 else {
        throw ModelError(
          "\(attention.file): \"n_heads_in_group\" (\(group)) should divide num_attention_heads (\(heads))")
      }
      return heads / group
    }
    mlp = try Self.part(ffn, ["ffn_mult", "intermediate_size", "hidden_act", "gated"]) {
      guard try ffn.flag("gated", default: true) else {
        throw ModelError("\(ffn.file): \"gated\" is false: only MLPs with a gate are supported")
      }
      let width = try ffn.optionalSize("intermediate_size")
      // Where both are there loaders take the factor.
      guard width == nil || ffn.has("ffn_mult") else { return width ?? 0 }
      let factor = try ffn.positive("ffn_mult")
      guard let rounded = Self.width(factor, hidden: hidden), width == nil || width == rounded else {
        throw ModelError(
          "\(ffn.file): \"ffn_mult\" (\(factor)) should give a width from 1 to \(ConfigReader.largestSize)"
            + (width.map { ", and that of \"intermediate_size\" (\($0))" } ?? ""))
      }
      return rounded
    }
    self.activation = try Activation(ffn, default: activation.rawValue)
  }

  private static func section(_ key: String, _ entry: ConfigReader) throws -> ConfigReader {
    guard let section = try entry.section(key) else {
      throw ModelError("\(entry.file): \"\(key)\" should be an object that says what the layer has, found nothing")
    }
    return section
  }

  /// - Parameters:
  ///   - sizes: the fields that say how large it is.
  ///   - size: reads them.
  private static func part(_ section: ConfigReader, _ sizes: [String], _ size: () throws -> Int) throws -> Part {
    try refuseOthers(section, ["no_op", "replace_with_linear"] + sizes)
    let isAbsent = try section.flag("no_op", default: false)
    let isLinear = try section.flag("replace_with_linear", default: false)
    guard !(isAbsent && isLinear) else {
      throw ModelError("\(section.file): \"no_op\" and \"replace_with_linear\" should not both be true")
    }
    return isAbsent ? .absent : isLinear ? .linear : .sized(try size())
  }

  /// Windows, sinks, sparse patterns, other mixers: what a field asks for that nothing here computes is refused.
  private static func refuseOthers(_ section: ConfigReader, _ known: [String]) throws {
    for (key, value) in section.object where !known.contains(key.description) && !value.isNull && value.bool != false {
      throw ModelError(
        "\(section.file): \"\(key)\" should be null, false or absent, for what it asks for is not supported; found "
          + "\(value.serialized().prefix(60))")
    }
  }

  /// The width that loaders make of a factor: nil where it is none.
  static func width(_ factor: Double, hidden: Int) -> Int? {
    let width = 2 * factor * Double(hidden) / 3
    guard width >= 1, width <= Double(ConfigReader.largestSize) else { return nil }
    return (Int(width) + 255) / 256 * 256
  }

  /// A factor of which loaders make this width, a multiple of 256.
  static func factor(width: Int, hidden: Int) -> Double {
    // They round up to the next multiple: halfway to it no rounding of theirs makes another of it.
    1.5 * Double(width - 128) / Double(hidden)
  }

  /// The entry for the layer (0-based) with other sizes: fields that still say them are kept as they are.
  ///
  /// - Throws: `ModelError` for a width that no factor gives.
  func entry(_ sizes: Sizes, layer: Int) throws -> JSON {
    var entry = object
    func set(_ value: JSON, _ key: String, of section: String) {
      var part = entry[section]?.object ?? JSON.Object()
      part[key] = value
      entry[section] = .object(part)
    }
    if case .sized(let heads) = attention {
      let group = sizes[.heads] / max(heads, 1)
      if object["attention"]?["n_heads_in_group"]?.int != group {
        set(.int(group), "n_heads_in_group", of: "attention")
      }
    }
    if case .sized = mlp {
      let (width, hidden, ffn) = (sizes[.ffn], sizes[.hidden], object["ffn"])
      if let factor = ffn?["ffn_mult"]?.double, Self.width(factor, hidden: hidden) != width {
        let factor = Self.factor(width: width, hidden: hidden)
        guard Self.width(factor, hidden: hidden) == width else {
          throw ModelError(
            "layer \(layer + 1): no \"ffn_mult\" says an MLP of \(width) channels: loaders make multiples of 256 of it")
        }
        set(.double(factor), "ffn_mult", of: "ffn")
      }
      if ffn?["intermediate_size"]?.int.map({ $0 != width }) == true {
        set(.int(width), "intermediate_size", of: "ffn")
      }
    }
    return .object(entry)
  }
}
