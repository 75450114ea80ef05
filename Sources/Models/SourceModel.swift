public import Checkpoint
public import JSON
public import Torch

/// A checkpoint on disk together with its family's description: every tensor is known, present and of the
/// right shape. Nothing of the weights has been read yet.
public final class SourceModel: Sendable {
  /// Its tensors have the names of the description's table of weights, whatever they are called in the files.
  public let checkpoint: CheckpointReader
  public let description: ModelDescription
  /// What the weights say otherwise than the config about the output head; nil where they agree.
  public let headNote: String?
  private let describe: Describe

  /// Makes a description of a config and the path of its file.
  public typealias Describe = @Sendable (_ config: JSON.Object, _ file: String) throws -> ModelDescription

  /// - Throws: `ModelError` naming the first tensors that are missing, unexpected or misshapen; what the
  ///   checkpoint reader and the family throw.
  ///
  /// - Parameters:
  ///   - directory: where `config.json` and the weights are.
  ///   - keepsPrediction: modules that predict further tokens belong to the model; otherwise they are left out.
  public convenience init(directory: String, keepsPrediction: Bool = false) throws {
    try self.init(directory: directory) { config, file in
      let description = try Families.describe(
        config: config, file: file, quantisation: Quantisation(config, directory: directory))
      return try keepsPrediction ? description.keepingPrediction() : description
    }
  }

  /// The same, described by the caller.
  ///
  public init(directory: String, describe: @escaping Describe) throws {
    self.describe = describe
    let reader = try CheckpointReader(directory: directory)
    let described = try describe(reader.config, reader.configFile)
    let found = try described.matched(to: reader)
    (checkpoint, headNote) = (found.checkpoint, found.note)
    if found.model.keepsPrediction, !found.checkpoint.tensors.contains(where: { found.model.isOfPrediction($0.name) }) {
      throw ModelError(
        "\(directory): the weights have no multi-token-prediction modules to keep, though the config may speak of them; leave "
          + "them out, as by default")
    }
    description = try found.model.rankingFollowers(in: found.checkpoint)
    carriedTensors = description.carried(of: found.checkpoint.tensors)
    try verify()
  }

  /// A checkpoint elsewhere that is described in the same way, such as what this one is pruned to.
  public func sibling(directory: String) throws -> SourceModel {
    try SourceModel(directory: directory, describe: describe)
  }

  /// What of the checkpoint is left out or differs from its config, one line for each part.
  public var notes: [String] {
    var discarded: [String] = []
    for entry in checkpoint.tensors {
      if let note = description.discarded(by: entry.name), !discarded.contains(note) { discarded.append(note) }
    }
    return (headNote.map { [$0] } ?? []) + [quantisationNote].compactMap { $0 } + discarded
  }

  /// That weights are stored quantised, and what becomes of them.
  private var quantisationNote: String? {
    guard let weight = checkpoint.tensors.first(where: \.isQuantised) else { return nil }
    let found = Quantisation(checkpoint.config, directory: checkpoint.directory)
    return
      "weights are stored quantised (\(found?.name ?? weight.name)): they are computed with as bfloat16, and the result is bfloat16"
      + (found?.wayBack.map { "; \($0) takes it back" } ?? "")
  }

  /// Tensors that are carried along unchanged, in the checkpoint's order.
  public let carriedTensors: [TensorEntry]

  private func verify() throws {
    var expected: [String: [Int]] = [:]
    for (name, shape) in description.tensors() { expected[name] = shape }
    let found = checkpoint.tensors
    let names = Set(found.map(\.name))
    let carried = Set(carriedTensors.map(\.name))
    func list(_ names: [String]) -> String {
      names.sorted().prefix(3).joined(separator: ", ") + (names.count > 3 ? " and \(names.count - 3) more" : "")
    }
    // Quantised weights lack tensors and have others: what they are says more than their names.
    // A scale of nothing is a weight by that name, such as those of Gemma 4's encoder of sound.
    func isOwn(_ name: String) -> Bool {
      carried.contains(name) && name.hasSuffix("_scale") && !names.contains(String(name.dropLast("_scale".count)))
    }
    if let scale = found.first(where: {
      expected[$0.name] == nil && QuantisedNames.contains($0.name) && !isOwn($0.name)
    }) {
      throw ModelError(
        "\(checkpoint.directory): the weights are quantised (\(scale.name), of type \(scale.type.rawValue)); prune the "
          + "original (bf16, f16 or f32) weights and quantise the result")
    }
    let missing = expected.keys.filter { !names.contains($0) }
    if let head = description.head, missing == [head.name] {
      throw ModelError(
        "\(checkpoint.directory): the weights lack the output head, \(head.name), and the config does not say that the "
          + "embedding is the head; transformers would start it at random. Set \"tie_word_embeddings\" to true in "
          + "config.json if it is, or save the model with its head")
    }
    guard missing.isEmpty else {
      throw ModelError(
        "\(checkpoint.directory): the config describes a \(description.family) model with tensors that the weights "
          + "lack: \(list(missing))" + (checkpoint.whereabouts(ofMissing: missing.sorted()).map { ". \($0)" } ?? ""))
    }
    let unexpected = found.map(\.name).filter {
      expected[$0] == nil && !description.isIgnorable($0) && !carried.contains($0)
    }
    guard unexpected.isEmpty else {
      throw ModelError(
        "\(checkpoint.directory): the weights hold tensors that a \(description.family) model with this config does "
          + "not have: \(list(unexpected))")
    }
    for entry in found {
      guard let shape = expected[entry.name] else { continue }
      guard entry.shape == shape else {
        throw ModelError(
          "\(checkpoint.directory)/\(entry.file): \(entry.name) should have shape \(shape) by the config, found \(entry.shape)"
        )
      }
      guard entry.type.dtype != nil else {
        throw ModelError(
          "\(checkpoint.directory)/\(entry.file): \(entry.name) is of type \(entry.type.rawValue); supported are BF16, F16 and F32"
        )
      }
    }
  }

  /// The type most of the weights are stored in, by bytes.
  public var storedType: ElementType {
    var bytes: [ElementType: Int] = [:]
    for entry in checkpoint.tensors { bytes[entry.type, default: 0] += entry.elementCount * entry.type.byteCount }
    return bytes.max { ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue) }?.key ?? .float32
  }

  /// The tensor `name` as it lies in the file: mapped, not copied.
  public func tensor(_ name: String) throws -> Tensor { try checkpoint.tensor(name) }
}

extension CheckpointReader {
  /// A tensor as it lies in the file: mapped, not copied, unless it is quantised.
  ///
  /// - Throws: `ModelError` when there is none of this name, or its type is none to compute with.
  func tensor(_ name: String) throws -> Tensor {
    guard let entry = entry(name), let dtype = entry.type.dtype else {
      throw ModelError("\(directory): no tensor \(name) of a supported type")
    }
    let contents = try contents(of: name)
    return try Tensor.borrowing(contents.bytes, shape: entry.shape, dtype: dtype, owner: contents)
  }
}

extension ModelDescription {
  /// Those of some tensors that are carried along.
  fileprivate func carried(of tensors: [TensorEntry]) -> [TensorEntry] {
    guard !carriedPrefixes.isEmpty else { return [] }
    let own = Set(self.tensors().map(\.name))
    return tensors.filter { entry in
      carriedPrefixes.contains(where: entry.name.hasPrefix) && !own.contains(entry.name)
    }
  }

  /// The checkpoint with the names of this model's table of weights, and the model as its weights have it: where both
  /// an embedding and a head are stored and differ, the head is one of its own whatever the config says, and where a
  /// tied head alone is stored it is the embedding, too. So `transformers` reads them (`tie_weights`).
  fileprivate func matched(
    to reader: CheckpointReader
  ) throws -> (checkpoint: CheckpointReader, model: ModelDescription, note: String?) {
    let renamings = try self.renamings(of: reader.tensors, in: reader.directory)
    let checkpoint = renamings.isEmpty ? reader : try reader.renamed(renamings)
    guard let head = names.heads.first(where: { checkpoint.entry($0) != nil }) else { return (checkpoint, self, nil) }
    guard isTied else { return (checkpoint, withHead(named: head), nil) }
    guard checkpoint.entry(embedding.name) != nil else {
      return (try checkpoint.renamed([head: embedding.name]), self, nil)
    }
    if try checkpoint.holdsSameBytes(head, embedding.name) { return (checkpoint, self, nil) }
    return (
      checkpoint, withHead(named: head).untied(),
      "by its config the model's head is its embedding, but the weights hold a head of its own with other values "
        + "(\(head)): both are used, and what is written says \"tie_word_embeddings\": false"
    )
  }
}

/// How the tensors of quantised checkpoints are called.
private enum QuantisedNames {
  /// Scales and zero points (fp8, ModelOpt, compressed-tensors, MXFP4), packed weights (GPTQ, AWQ, bitsandbytes).
  private static let ends = [
    "_scale", "_scale_2", "_scale_inv", "_scales", "_blocks", ".scales", ".qweight", ".qzeros", ".g_idx", "_packed",
    "_zero_point", ".absmax", ".quant_map", ".SCB", ".weight_format",
  ]

  static func contains(_ name: String) -> Bool {
    ends.contains(where: name.hasSuffix) || name.contains(".quant_state.")
  }
}

extension ElementType {
  /// The type to compute with; nil for the types no weight of a supported family has.
  public var dtype: DType? {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    default: nil
    }
  }
}
