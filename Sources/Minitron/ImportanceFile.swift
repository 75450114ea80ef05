public import JSON
public import Models

// How importance scores are written and read again.
extension ImportanceScores {
  /// Each hyperparameter's scores under its name: a list, or a list for each layer, null for a layer that does not have
  /// it. Where experts rank their channels each for itself, a layer holds a list for each expert. Divergences that layers are
  /// ranked by are `num_layers_kl`.
  public var json: JSON {
    var object = JSON.Object()
    if !layers.isEmpty { object[Hyperparameter.numLayers.rawValue] = .array(layers.map(JSON.double)) }
    if let layerDivergences { object["num_layers_kl"] = .array(layerDivergences.map(JSON.double)) }
    for hyperparameter in Hyperparameter.allCases {
      let json: JSON? =
        switch lists[hyperparameter] {
        case .everywhere(let list): Self.list(list)
        case .byLayer(let lists): .array(lists.map { $0.map(Self.list) ?? .null })
        case .byExpert(let lists): .array(lists.map { $0.map { .array($0.map(Self.list)) } ?? .null })
        case nil: nil
        }
      if let json { object[hyperparameter.rawValue] = json }
    }
    if let rotation { object[Self.rotationKey] = rotation.json }
    return .object(object)
  }

  /// What is not finite is left out: it is refused when it is read.
  private static func list(_ scores: [Float]) -> JSON {
    .array(scores.map { $0.isFinite ? .number(JSON.Number(unchecked: "\($0)")) : .null })
  }

  /// Reads what `json` wrote, for a model of this description.
  ///
  /// - Throws: `ModelError` naming layer and hyperparameter when scores are missing, too many or not finite.
  public init(parsing json: JSON, for model: ModelDescription, file: String) throws {
    self.init()
    func wrong(_ name: String, _ value: JSON?) -> ModelError {
      ModelError("\(file): \"\(name)\" should hold numbers, found \(value?.kind ?? "nothing")")
    }
    func numbers(_ value: JSON?, _ name: String) throws -> [Double] {
      guard let list = value?.array else { throw wrong(name, value) }
      return try list.map { entry in
        guard let number = entry.double else { throw wrong(name, entry) }
        return number
      }
    }
    func floats(_ value: JSON, _ name: String) throws -> [Float] { try numbers(value, name).map(Float.init) }

    layers = try numbers(json[Hyperparameter.numLayers.rawValue], "num_layers")
    for hyperparameter in model.measured {
      let name = hyperparameter.rawValue
      if hyperparameter.facts.scope == .model {
        lists[hyperparameter] = .everywhere(try numbers(json[name], name).map(Float.init))
        continue
      }
      guard let entries = json[name]?.array else { throw wrong(name, json[name]) }
      if entries.contains(where: { $0.array?.first?.array != nil }) {
        lists[hyperparameter] = .byExpert(
          try entries.enumerated().map { layer, value in
            if value.isNull { return nil }
            guard let experts = value.array else { throw wrong("\(name) in layer \(layer + 1)", value) }
            return try experts.enumerated().map { expert, list in
              try floats(list, "\(name) in layer \(layer + 1), expert \(expert + 1)")
            }
          })
      } else {
        lists[hyperparameter] = .byLayer(
          try entries.enumerated().map { layer, list in
            list.isNull ? nil : try floats(list, "\(name) in layer \(layer + 1)")
          })
      }
    }
    if let stored = json[Self.rotationKey] { rotate(by: try Rotation(parsing: stored, for: model, file: file)) }
    try check(for: model, what: file)
  }

  private static let rotationKey = "rotation"
}

// Bit for bit: other digits would be another basis.
extension Rotation {
  fileprivate var json: JSON {
    .object(
      [
        ("directions", PackedNumbers.json(directions)), ("shares", PackedNumbers.json(shares)),
        ("constants", .array(constants.map { PackedNumbers.json($0) })),
      ] + (headFactors.map { [("head_factors", PackedNumbers.json($0))] } ?? []))
  }

  fileprivate init(parsing json: JSON, for model: ModelDescription, file: String) throws {
    let constants = json["constants"]?.array?.map { PackedNumbers.floats($0) ?? [] }
    self.init(
      directions: PackedNumbers.floats(json["directions"]) ?? [], shares: PackedNumbers.floats(json["shares"]) ?? [],
      constants: constants ?? [], headFactors: json["head_factors"].map { PackedNumbers.floats($0) ?? [] })
    try check(for: model, what: file)
  }
}
