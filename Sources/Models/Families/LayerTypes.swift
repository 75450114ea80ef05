import JSON

/// `layer_types` of families whose layers differ in what they see: from the config, or from a rule.
struct LayerTypes: Sendable {
  static let sliding = "sliding_attention"
  static let full = "full_attention"
  static let linear = "linear_attention"
  private(set) var names: [String]

  /// - Parameters:
  ///   - kinds: the types that layers of the family may have.
  ///   - rule: the type of a layer (0-based) when the config lists none.
  init(_ config: ConfigReader, layers: Int, kinds: [String] = [sliding, full], rule: (Int) -> String) throws {
    names = try config.optionalStrings("layer_types", count: layers) ?? (0..<layers).map(rule)
    if let other = names.first(where: { !kinds.contains($0) }) {
      throw ModelError("\(config.file): layer type \"\(other)\" is not supported for this family")
    }
  }

  /// - Parameter period: every how many layers one sees all, when the config does not list them.
  init(_ config: ConfigReader, layers: Int, period: Int) throws {
    try self.init(config, layers: layers) { ($0 + 1) % period == 0 ? Self.full : Self.sliding }
  }

  func isLinear(_ layer: Int) -> Bool { names[layer] == Self.linear }
  func isSliding(_ layer: Int) -> Bool { names[layer] == Self.sliding }

  /// Has the last layer see all, as the architecture's loader does.
  mutating func endWithFull() { if !names.isEmpty { names[names.count - 1] = Self.full } }

  /// Once layers go, a rule by their number no longer says which is which: the list does.
  func edit(_ config: inout JSON.Object, kept: [Int]) {
    guard kept.count != names.count else { return }
    config["layer_types"] = .array(kept.map { .text(names[$0]) })
    for rule in ["sliding_window_pattern", "full_attention_interval"] { config[rule] = nil }
  }
}
