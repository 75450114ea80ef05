public import JSON
public import Models

/// An architecture to prune to: hyperparameters and their values, in order. What is not named is kept whole.
public struct ExportConfig: Sendable, Hashable, CustomStringConvertible {
  public private(set) var entries: [Entry]
  /// What was named that never changes; `validate` holds it against the model.
  private var unchanging: [Unchanging: Int] = [:]

  /// Sizes that the reference or its configs name and that pruning leaves as they are.
  private enum Unchanging: String, CaseIterable {
    case kvChannels = "kv_channels"
    case mambaNumGroups = "mamba_num_groups"
    case mambaStateDim = "mamba_state_dim"

    var dimension: Dimension {
      switch self {
      case .kvChannels: .headDim
      case .mambaNumGroups: .mambaGroups
      case .mambaStateDim: .mambaState
      }
    }
  }

  public struct Entry: Sendable, Hashable {
    public let hyperparameter: Hyperparameter
    public let value: Int
  }

  public init(_ pairs: [(Hyperparameter, Int)]) {
    entries = pairs.map { Entry(hyperparameter: $0.0, value: $0.1) }
  }

  public subscript(hyperparameter: Hyperparameter) -> Int? {
    entries.first { $0.hyperparameter == hyperparameter }?.value
  }

  public var json: JSON { .object(entries.map { ($0.hyperparameter.rawValue, .int($0.value)) }) }
  public var description: String { json.serialized() }

  /// Reads `{"hidden_size": 3584, "ffn_hidden_size": 9216}`.
  ///
  /// - Parameter suggest: the nearest known name to an unknown one, for the message.
  /// - Throws: `ModelError` for anything else than an object of known names and positive integers.
  public init(parsing json: JSON, suggest: (String, [String]) -> String? = { _, _ in nil }) throws {
    guard let object = json.object else {
      throw ModelError(
        "the architecture should be a JSON object such as {\"hidden_size\": 3584}, found \(json.kind)")
    }
    guard object.count > 0 else { throw ModelError("the architecture is empty: name at least one hyperparameter") }
    let known = Hyperparameter.settable.map(\.rawValue)
    entries = []
    for (key, value) in object {
      let hyperparameter = Hyperparameter(rawValue: key.description).flatMap { $0.follows ? nil : $0 }
      let other = Unchanging(rawValue: key.description)
      guard hyperparameter != nil || other != nil else {
        let hint = suggest(key.description, known).map { "; did you mean \"\($0)\"?" } ?? "."
        throw ModelError(
          "\"\(key)\" is no hyperparameter\(hint) Known are \(known.joined(separator: ", "))")
      }
      guard let number = value.int, number > 0 else {
        throw ModelError("\"\(key)\" should be a whole number above zero, found \(value.serialized().prefix(40))")
      }
      if let hyperparameter { entries.append(Entry(hyperparameter: hyperparameter, value: number)) }
      if let other { unchanging[other] = number }
    }
  }

  /// The shape of the pruned model.
  ///
  /// - Parameters:
  ///   - kept: the layers that are kept (0-based).
  public func architecture(of model: ModelDescription, keeping kept: [Int]) -> Architecture {
    var architecture = Architecture(model, layers: kept)
    for entry in entries {
      if let dimension = entry.hyperparameter.dimension { architecture.sizes[dimension] = entry.value }
    }
    return architecture
  }

  /// The same with the best layers of a ranking; nil: the first ones.
  ///
  /// - Parameter ranking: layer numbers (0-based), best first.
  public func architecture(of model: ModelDescription, ranking: [Int]? = nil) -> Architecture {
    let order = ranking ?? Array(model.layers.indices)
    return architecture(of: model, keeping: self[.numLayers].map { Array(order.prefix($0)) } ?? order)
  }

  /// The same with another value of a hyperparameter, at the end where it was not named.
  public func setting(_ hyperparameter: Hyperparameter, to value: Int) -> ExportConfig {
    var config = self
    let entry = Entry(hyperparameter: hyperparameter, value: value)
    if let at = entries.firstIndex(where: { $0.hyperparameter == hyperparameter }) {
      config.entries[at] = entry
    } else {
      config.entries.append(entry)
    }
    return config
  }

  /// The same with what follows from what is named: groups take their members with them, so of
  /// `{"num_query_groups": 4}` in a model of 32 heads in 8 groups `num_attention_heads` is 16. What is pruned by hand
  /// alone and named with the original's value, as scripts written for older versions of the reference do, is left out.
  public func completed(for model: ModelDescription) -> ExportConfig {
    var completed = self
    completed.entries.removeAll { entry in
      !entry.hyperparameter.facts.isSearched && entry.value == model.value(of: entry.hyperparameter)
    }
    for entry in entries {
      guard let members = entry.hyperparameter.facts.members, self[members] == nil else { continue }
      let (groups, original) = (model.value(of: entry.hyperparameter), model.value(of: members))
      guard entry.value < groups, original % groups == 0 else { continue }
      completed.entries.append(Entry(hyperparameter: members, value: original / groups * entry.value))
    }
    return completed
  }

  /// Checks that `model` can be pruned to this.
  ///
  /// - Returns: warnings about shapes that are slow or refused elsewhere.
  /// - Throws: `ModelError` naming the rule that does not hold.
  public func validate(for model: ModelDescription) throws -> [String] {
    for (name, value) in unchanging.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let original = model.sizes[name.dimension]
      guard original > 0 else { throw ModelError("a \(model.family) model has no \(name.rawValue)") }
      guard value == original else { throw Self.neverPruned(name.rawValue, original, found: value) }
    }
    var warnings: [String] = []
    let prunable = model.prunable
    let architecture = architecture(of: model)
    for entry in entries {
      let (name, facts) = (entry.hyperparameter.rawValue, entry.hyperparameter.facts)
      let original = model.value(of: entry.hyperparameter)
      guard prunable.contains(entry.hyperparameter) else {
        // What is not cut while modules are kept may be named with its size.
        if model.keepsPrediction, original > 0, entry.value == original { continue }
        let own = facts.dimension.map(model.ownSizes) ?? []
        if own == [entry.value] { continue }
        guard own.isEmpty else {
          throw ModelError(
            "\(name) cannot be pruned in this \(model.family) model: layers have their own "
              + "(\(own.map(String.init).joined(separator: ", "))), and no one number says what each is cut to")
        }
        if !facts.isSearched, original > 0 {
          guard entry.value == original else { throw Self.neverPruned(name, original, found: entry.value) }
          continue
        }
        if !facts.isSearched { throw ModelError("a \(model.family) model has no \(name)") }
        let names = model.hyperparameters.map(\.rawValue).joined(separator: ", ")
        throw ModelError(
          "\(name) cannot be pruned in a \(model.family) model; it has \(names)"
            + (model.predictionNote.map { " (\($0))" } ?? ""))
      }
      guard entry.value <= original else {
        throw ModelError("\(name) is \(original) in this model: it can be pruned to 1…\(original), not \(entry.value)")
      }
      try checkGroups(of: entry, model, architecture.sizes)
      if entry.value != original, entry.value % facts.preferredMultiple != 0 {
        warnings.append(
          "\(name) \(entry.value) is not a multiple of \(facts.preferredMultiple): such shapes run slower on GPUs' matrix "
            + "units and some quantised or compiled runtimes (TensorRT-LLM, FP8 and INT4 kernels) refuse them")
      }
    }
    if let (rule, reason) = model.refusal(of: architecture) {
      throw ModelError("\(self) is a shape that \(rule.name) refuses: \(reason)")
    }
    return warnings
  }

  private static func neverPruned(_ name: String, _ original: Int, found: Int) -> ModelError {
    ModelError(
      "\(name) is \(original) in this model and is never pruned: leave it out, or give \(original); found \(found)")
  }

  /// Every group that is kept has the same number of members, and none gets new ones.
  private func checkGroups(of entry: Entry, _ model: ModelDescription, _ sizes: Sizes) throws {
    let (hyperparameter, name) = (entry.hyperparameter, entry.hyperparameter.rawValue)
    let (groups, original) = (model.groups(of: hyperparameter, in: sizes), model.groups(of: hyperparameter))
    guard entry.value % groups == 0 else {
      let together = model.prunable.first { $0.facts.members == hyperparameter }.map(\.rawValue)
      throw ModelError(
        "\(name) should be a multiple of \(groups), the number of groups (\(hyperparameter.facts.groups?.name ?? "groups")) "
          + "it is split in, since every group loses the same number; found \(entry.value)"
          + (together.map { ". Whole groups go with \($0)" } ?? ""))
    }
    let most = model.value(of: hyperparameter) / original * groups
    guard entry.value <= most else {
      throw ModelError("\(name) is at most \(most) in \(groups) of \(original) groups; found \(entry.value)")
    }
  }
}
