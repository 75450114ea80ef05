import JSON

/// Which layers pick tokens by the indexer of a layer before them (arXiv 2603.12201; `transformers`
/// configuration_glm_moe_dsa.py).
struct SharedIndexers: Sendable {
  /// By layer.
  private let isShared: [Bool]

  /// - Parameter isKnown: whether the family's layers can share; of others what asks for it is refused.
  init(_ config: ConfigReader, layers: Int, isKnown: Bool) throws {
    let types = try config.optionalStrings("indexer_types", count: layers)
    let pattern = config.object["index_topk_pattern"].flatMap { $0.isNull ? nil : $0 }
    if let types {
      isShared = try types.map { try Self.isShared($0, config, "indexer_types") }
    } else if let text = pattern?.string {
      let names = try text.map { letter in
        guard let name = ["F": "full", "S": "shared"][letter] else {
          throw ModelError(
            "\(config.file): \"index_topk_pattern\" should be made of F and S, found \"\(text.prefix(60))\"")
        }
        return name
      }
      isShared = names.map { $0 == "shared" }
    } else if pattern != nil {
      let names = try config.optionalStrings("index_topk_pattern", count: layers) ?? []
      isShared = try names.map { try Self.isShared($0, config, "index_topk_pattern") }
    } else {
      let every = max(try config.size("index_topk_freq", default: 1, atLeast: 0), 1)
      let offset = try config.size("index_skip_topk_offset", default: 2, atLeast: 0)
      isShared = (0..<layers).map { max($0 - offset + 1, 0) % every != 0 }
    }
    guard isShared.count == layers else {
      throw ModelError(
        "\(config.file): \"index_topk_pattern\" should have a letter for each of \(layers) layers, found \(isShared.count)"
      )
    }
    guard isKnown || !isShared.contains(true) else {
      throw ModelError(
        "\(config.file): layers that share the choice of another layer's indexer (\"indexer_types\", \"index_topk_pattern\", "
          + "\"index_topk_freq\") are not known of this family; each layer should have an indexer of its own")
    }
    guard isShared.first != true else {
      throw ModelError(
        "\(config.file): the first layer should have an indexer of its own, but is to share that of a layer before it")
    }
  }

  private static func isShared(_ type: String, _ config: ConfigReader, _ key: String) throws -> Bool {
    guard ["full", "shared"].contains(type) else {
      throw ModelError("\(config.file): \"\(key)\" has \"\(type)\"; a layer's indexer is \"full\" or \"shared\"")
    }
    return type == "shared"
  }

  /// Layers whose choice others share.
  private var lenders: [Int] { isShared.indices.dropLast().filter { !isShared[$0] && isShared[$0 + 1] } }

  func picking(_ indexer: TokenIndexer, layer: Int) -> TokenPicking {
    guard let first = lenders.first else { return .own(indexer, lendsAs: nil) }
    return isShared[layer] ? .borrowed(indexer, from: first) : .own(indexer, lendsAs: first)
  }

  /// Says what lies beside the states: what the last indexer before has made, from the first that lends to the last that borrows.
  func connect(_ model: inout ModelDescription) {
    guard let first = lenders.first, let last = isShared.lastIndex(of: true) else { return }
    let ride = KeyRide(layer: first, channels: TokenIndexer.lentChannels(model.sizes))
    for layer in isShared.indices {
      model.layers[layer].incoming = first < layer && layer <= last ? [ride] : []
      model.layers[layer].outgoing = first <= layer && layer < last ? [ride] : []
    }
    model.required = (Set(lenders).union([last]), "other layers look at the tokens that their indexers pick")
  }

  /// Says of each layer that is left whether it shares.
  func edit(_ config: inout JSON.Object, kept: [Int]) {
    guard kept.count != isShared.count else { return }
    if isShared.contains(true) {
      config["indexer_types"] = .array(kept.map { .text(isShared[$0] ? "shared" : "full") })
    }
    if config["index_topk_pattern"]?.string != nil {
      config["index_topk_pattern"] = .text(String(kept.map { isShared[$0] ? "S" : "F" }))
    }
  }
}
