import Files
import JSON

/// A tensor that a checkpoint will hold.
public struct PlannedTensor: Sendable, Equatable {
  public let name: String
  public let type: ElementType
  /// Sizes, outermost first.
  public let shape: [Int]

  public init(name: String, type: ElementType, shape: [Int]) {
    self.name = name
    self.type = type
    self.shape = shape
  }
}

/// Writes safetensors weights as they come, holding a few megabytes: one `model.safetensors`, or, where that would
/// pass `maxShardBytes`, shards `model-0000i-of-0000n.safetensors` and `model.safetensors.index.json`.
///
/// A file gets its header when its last tensor is written, so a file that was left half-written is no safetensors
/// file. The directory's other files are the caller's; `OutputDirectory.publish` makes the whole appear at once.
public final class CheckpointWriter {
  public static let defaultMaxShardBytes = 5_000_000_000

  /// The weight files' names, in order.
  public let files: [String]
  /// Bytes of all tensors.
  public let totalBytes: Int

  private let directory: String
  private let plan: ShardPlan
  private let metadata: [String: String]
  private var next = 0
  private var output: ShardOutput?
  private var failed = false

  /// - Parameters:
  ///   - directory: exists, and holds none of the files to be written.
  ///   - tensors: in the order in which they will be written; they fill the shards in that order.
  ///   - maxShardBytes: of tensors in one file; one tensor that is larger gets a file to itself.
  ///   - metadata: for every file's `__metadata__`; `transformers` wants `format`.
  /// - Throws: `CheckpointError` for a plan that no checkpoint can hold.
  public init(
    directory: String, tensors: [PlannedTensor], maxShardBytes: Int = defaultMaxShardBytes,
    metadata: [String: String] = ["format": "pt"]
  ) throws {
    self.directory = directory
    self.metadata = metadata
    plan = try ShardPlan(tensors, maxShardBytes: maxShardBytes)
    files = plan.shards.map(\.file)
    totalBytes = plan.totalBytes
    try requireSpace(totalBytes, in: directory)
  }

  /// Writes the next tensor of the plan.
  ///
  /// - Parameter body: calls `append` with the tensor's bytes, little-endian and row-major, in as many pieces as it
  ///   likes.
  /// - Throws: `CheckpointError` when it is not this tensor's turn, its bytes are fewer or more than planned, or the
  ///   system refuses to write; whatever `body` throws. After an error the writer takes no more tensors.
  public func write(_ name: String, _ body: (_ append: (UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws {
    guard !failed else {
      throw CheckpointError(.mismatch, "\(directory): an earlier tensor could not be written; start again")
    }
    failed = true
    guard next < plan.tensors.count else {
      throw CheckpointError(.mismatch, "tensor \"\(name)\" comes after the last one that was planned")
    }
    let tensor = plan.tensors[next]
    guard JSON.Text(tensor.name) == JSON.Text(name) else {
      throw CheckpointError(.mismatch, "tensor \"\(name)\" comes where \"\(tensor.name)\" was planned")
    }
    let place = plan.places[next]
    if place.isFirst {
      let shard = plan.shards[place.shard]
      output = try ShardOutput(path: join(directory, shard.file), shard, metadata)
    }
    guard let output else { throw CheckpointError(.mismatch, "no file is open for tensor \"\(name)\"") }
    try output.seek(place.offset)
    var left = place.byteCount
    try body { bytes in
      guard bytes.count <= left else {
        throw CheckpointError(
          .mismatch,
          "tensor \"\(name)\" gets \(bytes.count - left) bytes more than the \(place.byteCount) of its planned shape "
            + "\(tensor.shape)")
      }
      left -= bytes.count
      try output.append(bytes)
    }
    guard left == 0 else {
      throw CheckpointError(
        .mismatch,
        "tensor \"\(name)\" lacks \(left) of the \(place.byteCount) bytes of its planned shape \(tensor.shape)")
    }
    next += 1
    if place.isLast {
      try output.finish()
      self.output = nil
    }
    failed = false
  }

  /// Writes the index, where there are shards, and waits until everything is on the disk.
  ///
  /// - Throws: `CheckpointError` when planned tensors are missing or the system refuses to write.
  public func finish() throws {
    guard !failed else {
      throw CheckpointError(.mismatch, "\(directory): a tensor could not be written; start again")
    }
    guard next == plan.tensors.count else {
      throw CheckpointError(
        .mismatch,
        "\(directory): \(plan.tensors.count - next) planned tensors were not written, the first of them "
          + "\"\(plan.tensors[next].name)\"")
    }
    failed = true
    if plan.shards.count > 1 {
      let file = try OpenFile.creating(join(directory, ShardIndex.name))
      try Array((plan.index.serialized(indent: 2) + "\n").utf8).withUnsafeBytes { try file.write($0) }
      try file.synchronize()
    }
    try synchronizeDirectory(directory)
  }

  /// Opens what was written and holds it against the plan: every tensor there, none besides, each of its type and
  /// shape, in files that keep the format's rules.
  ///
  /// - Throws: `CheckpointError` that names the first difference.
  public static func verify(directory: String, against plan: [PlannedTensor]) throws {
    let weights = try WeightFiles(directory: directory)
    for tensor in plan {
      guard let entry = weights.entry(tensor.name) else {
        throw CheckpointError(.mismatch, "\(directory) lacks tensor \"\(tensor.name)\", which was planned")
      }
      guard entry.type == tensor.type, entry.shape == tensor.shape else {
        throw CheckpointError(
          .mismatch,
          "\(directory) holds tensor \"\(tensor.name)\" as \(entry.type.rawValue) \(entry.shape); planned was "
            + "\(tensor.type.rawValue) \(tensor.shape)")
      }
    }
    let planned = Set(plan.map { JSON.Text($0.name) })
    guard planned.count == plan.count else {
      throw CheckpointError(.mismatch, "the plan of \(directory) names a tensor twice")
    }
    if let other = weights.tensors.first(where: { !planned.contains(JSON.Text($0.name)) }) {
      throw CheckpointError(.mismatch, "\(directory) holds tensor \"\(other.name)\", which was not planned")
    }
  }
}
