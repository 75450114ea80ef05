import JSON

/// `layer_types` of families in which some layers see a window and some see all: from the config, or from a rule.
struct LayerTypes: Sendable {
  static let sliding = "sliding_attention"
  static let full = "full_attention"
  let names: [String]

  /// - Parameter rule: the type of a layer (0-based) when the config lists none.
  init(_ config: ConfigReader, layers: Int, rule: (Int) -> String) throws {
    names = try config.optionalStrings("layer_types", count: layers) ?? (0..<layers).map(rule)
    if let other = names.first(where: { ![Self.sliding, Self.full].contains($0) }) {
      throw ModelError("\(config.file): layer type \"\(other)\" is not supported for this family")
    }
  }

  func isSliding(_ layer: Int) -> Bool { names[layer] == Self.sliding }

  /// Once layers go, a rule by their number no longer says which is which: the list does.
  func edit(_ config: inout JSON.Object, kept: [Int]) {
    guard kept.count != names.count else { return }
    config["layer_types"] = .array(kept.map { .text(names[$0]) })
    config["sliding_window_pattern"] = nil
  }
}
