public import JSON
public import Models

/// Importance of everything that can be pruned: the higher, the more it matters.
public struct ImportanceScores: Sendable, Equatable {
  /// Scores with one order for the whole model: `hidden_size` → H numbers.
  public var global: [Hyperparameter: [Float]] = [:]
  /// Scores layer by layer (0-based): `ffn_hidden_size` → L lists of F, `num_attention_heads` → L of N.
  public var perLayer: [Hyperparameter: [[Float]]] = [:]
  /// `1 − cos` of each layer's input and output, summed over micro-batches.
  public var layers: [Double] = []
  /// Layer numbers (0-based), best first, that were found elsewhere; not among the scores that are kept.
  public var givenLayerRanking: [Int]?

  public init() {}

  /// Layer numbers (0-based), the most important first: as given, else as measured, of equal ones the earlier first.
  public var layerRanking: [Int] {
    givenLayerRanking ?? layers.indices.sorted { (layers[$0], $1) > (layers[$1], $0) }
  }

  public var json: JSON {
    var object = JSON.Object()
    object[Hyperparameter.numLayers.rawValue] = .array(layers.map(JSON.double))
    for hyperparameter in Hyperparameter.allCases {
      if let scores = global[hyperparameter] { object[hyperparameter.rawValue] = Self.list(scores) }
      if let lists = perLayer[hyperparameter] { object[hyperparameter.rawValue] = .array(lists.map(Self.list)) }
    }
    return .object(object)
  }

  private static func list(_ scores: [Float]) -> JSON {
    .array(scores.map { .number(JSON.Number(unchecked: $0.isFinite ? "\($0)" : "0")) })
  }

  /// Reads what `json` wrote, for a model of this description.
  ///
  /// - Throws: `ModelError` when lists are missing or of another length than the model's.
  public init(parsing json: JSON, for model: ModelDescription, file: String) throws {
    func numbers(_ value: JSON?, _ name: String, count: Int) throws -> [Double] {
      let list = value?.array?.map(\.double) ?? []
      let finite = list.compactMap { $0.flatMap { $0.isFinite ? $0 : nil } }
      guard finite.count == count, list.count == count else {
        throw ModelError("\(file): \"\(name)\" should hold \(count) numbers, found \(list.count)")
      }
      return finite
    }
    layers = try numbers(json[Hyperparameter.numLayers.rawValue], "num_layers", count: model.layers.count)
    for hyperparameter in model.hyperparameters where hyperparameter != .numLayers {
      let name = hyperparameter.rawValue
      let size = model.value(of: hyperparameter)
      if hyperparameter == .hiddenSize {
        global[hyperparameter] = try numbers(json[name], name, count: size).map(Float.init)
        continue
      }
      guard let lists = json[name]?.array, lists.count == model.layers.count else {
        throw ModelError("\(file): \"\(name)\" should hold a list for each of \(model.layers.count) layers")
      }
      perLayer[hyperparameter] = try lists.enumerated().map { layer, list in
        // A layer without this hyperparameter has an empty list.
        list.array?.isEmpty == true
          ? [] : try numbers(list, "\(name) of layer \(layer + 1)", count: size).map(Float.init)
      }
    }
  }

  /// What stays when pruning to `config`.
  ///
  /// - Throws: `ModelError` when scores that are needed are missing.
  public func selection(for config: ExportConfig, of model: ModelDescription) throws -> Selection {
    var selection = Selection(all: model)
    for entry in config.entries {
      let hyperparameter = entry.hyperparameter
      if entry.value == model.value(of: hyperparameter) { continue }
      switch hyperparameter {
      case .numLayers:
        selection = Selection(
          layers: layerRanking.prefix(entry.value).sorted(), global: selection.global, perLayer: selection.perLayer)
      case .hiddenSize:
        guard let scores = global[.hiddenSize] else { throw ModelError("there are no scores of hidden_size") }
        selection.global[.hiddenSize] = Self.best(entry.value, of: scores)
      default:
        guard let lists = perLayer[hyperparameter] else {
          throw ModelError("there are no scores of \(hyperparameter.rawValue)")
        }
        let groups = model.groups(of: hyperparameter)
        selection.perLayer[hyperparameter] = lists.map { scores in
          Self.best(entry.value, of: scores, groups: groups)
        }
      }
    }
    return selection
  }

  /// The indices of the `count` highest scores, ascending; ties go to the lower index. With groups, each keeps
  /// the same number of its own.
  package static func best(_ count: Int, of scores: [Float], groups: Int = 1) -> [Int] {
    let size = scores.count / max(groups, 1)
    guard size > 0 else { return [] }
    return (0..<groups).flatMap { group in
      (group * size..<(group + 1) * size)
        .sorted { (scores[$0], $1) > (scores[$1], $0) }
        .prefix(count / groups).sorted()
    }
  }
}
