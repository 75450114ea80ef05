public import JSON
public import Models

/// An architecture to prune to: hyperparameters and their values, in order. What is not named stays.
public struct ExportConfig: Sendable, Hashable, CustomStringConvertible {
  public private(set) var entries: [Entry]
  /// What was named that never changes; `validate` holds it against the model.
  private var unchanging: [Unchanging: Int] = [:]

  /// Sizes that the reference or its configs name and that pruning leaves as they are.
  private enum Unchanging: String, CaseIterable {
    // The reference takes it where it is the original's, since scripts from before its version 0.41 give it.
    case numQueryGroups = "num_query_groups"
    case kvChannels = "kv_channels"
    case mambaNumGroups = "mamba_num_groups"
    case mambaStateDim = "mamba_state_dim"

    var dimension: Dimension {
      switch self {
      case .numQueryGroups: .kvHeads
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
    let known = Hyperparameter.allCases.map(\.rawValue)
    entries = []
    for (key, value) in object {
      let hyperparameter = Hyperparameter(rawValue: key.description)
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

  /// The sizes of the pruned model.
  public func sizes(from original: Sizes) -> Sizes {
    var sizes = original
    for entry in entries where entry.hyperparameter != .numLayers {
      sizes[Dimension(entry.hyperparameter)] = entry.value
    }
    return sizes
  }

  /// Checks that `model` can be pruned to this.
  ///
  /// - Returns: warnings about shapes that are slow or refused elsewhere.
  /// - Throws: `ModelError` naming the rule that does not hold.
  public func validate(for model: ModelDescription) throws -> [String] {
    for (name, value) in unchanging.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let original = model.sizes[name.dimension]
      guard original > 0 else { throw ModelError("a \(model.family) model has no \(name.rawValue)") }
      guard value == original else {
        throw ModelError(
          "\(name.rawValue) is \(original) in this model and is never pruned: leave it out, or give \(original); "
            + "found \(value)")
      }
    }
    var warnings: [String] = []
    let prunable = model.hyperparameters
    for entry in entries {
      let name = entry.hyperparameter.rawValue
      guard prunable.contains(entry.hyperparameter) else {
        let names = prunable.map(\.rawValue).joined(separator: ", ")
        throw ModelError("\(name) cannot be pruned in a \(model.family) model; it has \(names)")
      }
      let original = model.value(of: entry.hyperparameter)
      guard entry.value <= original else {
        throw ModelError("\(name) is \(original) in this model: it can be pruned to 1…\(original), not \(entry.value)")
      }
      let groups = model.groups(of: entry.hyperparameter)
      guard entry.value % groups == 0 else {
        throw ModelError(
          "\(name) should be a multiple of \(groups), the number of groups (\(entry.hyperparameter.groupName)) it is "
            + "split in, since every group loses the same number; found \(entry.value)")
      }
      let granularity = entry.hyperparameter.preferredMultiple
      if entry.value != original, entry.value % granularity != 0 {
        warnings.append(
          "\(name) \(entry.value) is not a multiple of \(granularity): such shapes run slower on GPUs' matrix units "
            + "and some quantised or compiled runtimes (TensorRT-LLM, FP8 and INT4 kernels) refuse them")
      }
    }
    if let rule = model.refusal(sizes(from: model.sizes)) {
      throw ModelError("\(self) is a shape that the architecture's own loader refuses: \(rule)")
    }
    return warnings
  }
}

extension Hyperparameter {
  /// What its groups are called.
  fileprivate var groupName: String {
    switch self {
    case .numAttentionHeads: "key-value heads"
    case .numMoEExperts: "n_group, the groups of experts that routing chooses among"
    default: "n_groups"
    }
  }

  /// What values should be multiples of to run well everywhere.
  var preferredMultiple: Int {
    switch self {
    case .hiddenSize, .ffnHiddenSize, .moeFFNHiddenSize, .moeSharedExpertIntermediateSize: 64
    case .mambaHeadDim, .numMoEExperts: 8
    case .numLayers, .numAttentionHeads, .mambaNumHeads: 1
    }
  }
}
