public import Checkpoint
import JSON
public import Torch

/// A checkpoint on disk together with its family's description: every tensor is known, present and of the
/// right shape. Nothing of the weights has been read yet.
public final class SourceModel: Sendable {
  public let checkpoint: CheckpointReader
  public let description: ModelDescription

  /// - Throws: `ModelError` naming the first tensors that are missing, unexpected or misshapen; what the
  ///   checkpoint reader and the family throw.
  public init(directory: String) throws {
    checkpoint = try CheckpointReader(directory: directory)
    description = try Families.describe(config: checkpoint.config, file: checkpoint.configFile)
      .spelled(as: Set(checkpoint.tensors.map(\.name)))
    try verify()
  }

  /// What of the checkpoint is left behind, one line for each part.
  public var notes: [String] {
    description.dropped.filter { part in checkpoint.tensors.contains { $0.name.hasPrefix(part.prefix) } }.map(\.note)
  }

  /// Tensors that some checkpoints carry and no model needs: recomputed buffers, a tied head's second copy.
  private func isIgnorable(_ name: String) -> Bool {
    [".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"].contains(where: name.hasSuffix)
      || (description.head == nil && name == "lm_head.weight")
      || description.dropped.contains { name.hasPrefix($0.prefix) }
  }

  private func verify() throws {
    var expected: [String: [Int]] = [:]
    for (name, shape) in description.tensors() { expected[name] = shape }
    let found = checkpoint.tensors
    let names = Set(found.map(\.name))
    func list(_ names: [String]) -> String {
      names.sorted().prefix(3).joined(separator: ", ") + (names.count > 3 ? " and \(names.count - 3) more" : "")
    }
    let missing = expected.keys.filter { !names.contains($0) }
    guard missing.isEmpty else {
      throw ModelError(
        "\(checkpoint.directory): the config describes a \(description.family) model with tensors that the weights "
          + "lack: \(list(missing))" + (checkpoint.whereabouts(ofMissing: missing.sorted()).map { ". \($0)" } ?? ""))
    }
    let unexpected = found.map(\.name).filter { expected[$0] == nil && !isIgnorable($0) }
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
  public func tensor(_ name: String) throws -> Tensor {
    guard let entry = checkpoint.entry(name), let dtype = entry.type.dtype else {
      throw ModelError("\(checkpoint.directory): no tensor \(name) of a supported type")
    }
    return try Tensor.borrowing(checkpoint.bytes(of: name), shape: entry.shape, dtype: dtype, owner: checkpoint)
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
