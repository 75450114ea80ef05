import Messages
import Minitron
public import Models

/// In JSON and flags layers are the text that names them: `3,5,27-34`.
extension LayerNumbers: WrittenValue {
  public var text: String { description }
  public init(_ text: String) throws { try self.init(parsing: text) }
}

extension SearchParameters {
  /// What is pruned is said, not searched: an architecture, or the layers that go.
  package var isByHand: Bool { architecture != nil || droppedLayers != nil && !hasTarget }

  /// What is wrong with layers by hand, whatever the model.
  ///
  /// - Throws: `RequestError`.
  func validateLayers() throws {
    for (name, layers) in [("drop_layers", droppedLayers), ("keep_layers", keptLayers)] {
      guard layers?.isEmpty != true else { throw RequestError("\(parameter: name) names no layer; leave it out") }
    }
    if let layer = (droppedLayers ?? LayerNumbers()).firstShared(with: keptLayers ?? LayerNumbers()) {
      throw RequestError(
        "layer \(layer) is both in \(parameter: "drop_layers") and in \(parameter: "keep_layers"): name it in one of them"
      )
    }
  }

  /// The architecture that is given by hand, with what follows from it in a model; nil for a search.
  ///
  /// - Throws: `RequestError` for layers that the model does not have, for none that are left, and for another num_layers than
  ///   is left; `RunError` for layers that the architecture cannot do without.
  func byHand(for description: ModelDescription) throws -> ExportConfig? {
    let (count, choice) = (description.layers.count, layerChoice)
    for (name, layers) in [("drop_layers", choice.dropped), ("keep_layers", choice.kept)] {
      guard let last = layers.last, last > count else { continue }
      throw RequestError("\(parameter: name) \(layers): there is no layer \(last), this model has \(count)")
    }
    let left = description.keepingOrder(Array(description.layers.indices), choice)
    guard !left.isEmpty else {
      throw RequestError(
        "\(parameter: "drop_layers") \(choice.dropped) leaves none of the \(count) layers; keep at least one")
    }
    if let one = description.required.layers.subtracting(left).min() {
      throw RunError(
        "\(parameter: "drop_layers") \(choice.dropped) leaves out layer \(one + 1), which has to be kept: \(description.required.reason)"
      )
    }
    if left.count < count, let reason = description.refusesLayers?(left.sorted()) {
      throw RunError("\(parameter: "drop_layers") \(choice.dropped): \(reason)")
    }
    let order = description.keepingOrder(Array(description.layers.indices))
    if left.count < count, description.indispensableLayer(left) == nil,
      let one = description.indispensableLayer(order)
    {
      throw RunError(
        """
        \(parameter: "drop_layers") \(choice.dropped) leaves no layer with attention, without which the architecture's own \
        loader cannot generate; keep one, such as layer \(one + 1)
        """)
    }
    guard isByHand else { return nil }
    var config = architecture ?? ExportConfig([])
    if !choice.dropped.isEmpty {
      guard config[.numLayers] ?? left.count == left.count else {
        throw RequestError(
          """
          \(parameter: "prune_export_config") has num_layers \(config[.numLayers] ?? count), and \
          \(parameter: "drop_layers") \(choice.dropped) leaves \(left.count) of \(count): leave num_layers out, or let them agree
          """)
      }
      config = config.setting(.numLayers, to: left.count)
    }
    let (asked, fewest) = (config[.numLayers] ?? count, description.fewestLayers(choice))
    guard asked >= fewest || choice.kept.isEmpty else {
      throw RequestError(
        """
        \(parameter: "prune_export_config") has num_layers \(asked), too few for \(description.text(of: choice.kept)): give at \
        least \(fewest), or name fewer
        """)
    }
    return config.completed(for: description)
  }
}

extension ModelDescription {
  /// What is kept by choice, in words.
  fileprivate func text(of kept: LayerNumbers) -> Message {
    let count = kept.layers(of: layers.count).count
    let more =
      fewestLayers(LayerChoice(kept: kept)) > count ? " and one with attention, which it cannot do without" : ""
    return "\(parameter: "keep_layers") \(kept), which keeps \(count) layer\(count == 1 ? "" : "s")\(more)"
  }
}

extension PruneRequest {
  /// Says what layers by hand mean for a search.
  func noteLayers(of description: ModelDescription, _ settings: SearchSettings, _ events: RunEvents) throws {
    let choice = settings.layerChoice
    if search.isByHand { return }
    func depths(_ settings: SearchSettings) -> [Int] {
      SearchSpace(description, settings).choices.first { $0.hyperparameter == .numLayers }?.values ?? []
    }
    if !choice.dropped.isEmpty {
      try events.note(
        .layersByHand(
          """
          num_layers is \(depths(settings).first ?? 0) for all candidates: \(parameter: "drop_layers") says which layers go, \
          and the search is for the rest
          """))
      return
    }
    var free = settings
    free.layerChoice = LayerChoice()
    let out = depths(free).filter { !depths(settings).contains($0) }
    if out.isEmpty { return }
    try events.note(
      .layersByHand(
        "num_layers \(out.map(String.init).joined(separator: ", ")) \(out.count == 1 ? "is" : "are") left out: too few for \(description.text(of: choice.kept))"
      ))
  }
}

/// How a run finds out which layers are kept.
struct LayerOrder {
  /// Layers that are chosen by hand; none where all layers are kept.
  let choice: LayerChoice
  /// The order that the request gives: 0-based numbers, best first.
  let given: [Int]?
  /// By what layers are ranked; nil where nothing is to be ranked.
  let score: LayerScore?

  /// - Parameter isCut: whether layers may go.
  /// - Throws: `RunError` for a ranking that is none.
  init(_ request: PruneRequest, _ description: ModelDescription, _ settings: SearchSettings, isCut: Bool) throws {
    let ranking = try request.layerRanking?.layers(of: description.layers.count)
    choice = isCut ? settings.layerChoice : LayerChoice()
    given = isCut ? ranking : nil
    score = isCut && given == nil && choice.dropped.isEmpty ? request.layerScore ?? .cosine : nil
  }

  /// The order of layers where nothing needs to be measured for it: any, where it is said which of them go.
  func known(_ description: ModelDescription) -> [Int]? {
    given ?? (choice.dropped.isEmpty ? nil : Array(description.layers.indices))
  }

  /// What a result is made of because of them: names and values for its fingerprint.
  var madeOf: [(String, String)] {
    (given.map { [("layer_ranking", "\($0.map { $0 + 1 })")] } ?? [])
      + [("drop_layers", choice.dropped), ("keep_layers", choice.kept)].filter { !$0.1.isEmpty }
      .map { ($0.0, "\($0.1)") }
  }
}
