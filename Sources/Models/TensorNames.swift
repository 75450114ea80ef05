import Checkpoint

/// The names under which a family's checkpoints may hold its tensors, besides those of its table of weights.
public struct TensorNames: Sendable {
  /// What every name of the base model begins with inside the whole model. A checkpoint that was saved from the base
  /// model alone lacks it, and `transformers` puts it in front (`rename_source_key`).
  public let prefix: String
  /// What stands in place of `prefix` in some checkpoints.
  public let otherPrefixes: [String]
  /// Beginnings of names that stand for others: of parts beside the language model.
  public let spellings: [(other: String, own: String)]
  /// The names of the output head; the first is the one in the table of weights.
  public let heads: [String]
  /// How the names of buffers end that the loader computes anew.
  public let buffers: [String]

  public init(
    prefix: String = "model.", otherPrefixes: [String] = [], spellings: [(other: String, own: String)] = [],
    heads: [String] = ["lm_head.weight"], buffers: [String] = []
  ) {
    self.prefix = prefix
    self.otherPrefixes = otherPrefixes
    self.spellings = spellings
    self.heads = heads
    // Older versions of `transformers` saved the frequencies of every rotary embedding.
    self.buffers = buffers + ["rotary_emb.inv_freq"]
  }

  /// The name in the table of weights that a checkpoint's `name` stands for; `name` itself where there is none.
  func canonical(_ name: String, known: (String) -> Bool) -> String {
    if known(name) { return name }
    var candidates = [prefix + name]
    for other in otherPrefixes where name.hasPrefix(other) { candidates.append(prefix + name.dropFirst(other.count)) }
    for (other, own) in spellings where name.hasPrefix(other) { candidates.append(own + name.dropFirst(other.count)) }
    // A head that was saved as a part of the base model.
    if name.hasPrefix(prefix) { candidates.append(String(name.dropFirst(prefix.count))) }
    return candidates.first(where: known) ?? name
  }
}

extension ModelDescription {
  /// The names that `tensors` have in the table of weights, by those in the files: only the ones that differ.
  ///
  /// - Throws: `ModelError` when two tensors stand for one weight.
  func renamings(of tensors: [TensorEntry], in directory: String) throws -> [String: String] {
    let heads = names.heads.filter { head in tensors.contains { $0.name == head } }
    guard heads.count < 2 else {
      throw ModelError("\(directory): \(heads.joined(separator: " and ")) are both the output head; keep one of them")
    }
    let known = Set(self.tensors().map(\.name) + names.heads)
    var renamings: [String: String] = [:]
    var sources: [String: String] = [:]
    for entry in tensors {
      let name = names.canonical(entry.name, known: known.contains)
      if name != entry.name { renamings[entry.name] = name }
      if let other = sources.updateValue(entry.name, forKey: name) {
        throw ModelError(
          "\(directory): \(other) and \(entry.name) are both the weight \(name) of a \(family) model; keep one of them")
      }
    }
    return renamings
  }

  /// Whether a tensor with this name is no weight of the model and can be passed over.
  func isIgnorable(_ name: String) -> Bool {
    names.buffers.contains(where: name.hasSuffix) || isTied && names.heads.contains(name)
      || discarded(by: name) != nil
  }

  /// The line about the part of a checkpoint that this tensor belongs to and that is left out; nil for others.
  func discarded(by name: String) -> String? {
    dropped.first { name.hasPrefix($0.prefix) || (names.prefix + name).hasPrefix($0.prefix) }?.note
      ?? leftOutPrediction(name)
  }
}
