import JSON

/// Which tensor goes where: shards filled in the order of the plan, and inside each the types with the largest
/// elements first, so that every tensor is aligned to its elements whatever types are mixed.
struct ShardPlan {
  struct Shard {
    let file: String
    /// In the order of their bytes.
    let tensors: [PlannedTensor]
    let byteCounts: [Int]
    var byteCount: Int { byteCounts.reduce(0, +) }
  }

  struct Place {
    let shard: Int
    /// From the start of the shard's tensors.
    let offset: Int
    let byteCount: Int
    /// The first and the last tensor of a shard to be written.
    let isFirst: Bool
    let isLast: Bool
  }

  let tensors: [PlannedTensor]
  let shards: [Shard]
  /// One for each tensor.
  let places: [Place]
  let totalBytes: Int

  init(_ tensors: [PlannedTensor], maxShardBytes: Int) throws {
    guard !tensors.isEmpty else { throw CheckpointError(.mismatch, "a checkpoint without tensors was planned") }
    guard maxShardBytes > 0 else { throw CheckpointError(.mismatch, "shards of \(maxShardBytes) bytes were planned") }
    var names: Set<JSON.Text> = ["__metadata__"]
    var counts: [Int] = []
    var total = 0
    for tensor in tensors {
      guard names.insert(JSON.Text(tensor.name)).inserted else {
        throw CheckpointError(.mismatch, "tensor \"\(tensor.name)\" was planned twice, or has a name that is taken")
      }
      guard let count = tensor.type.byteCount(ofShape: tensor.shape) else {
        throw CheckpointError(
          .mismatch,
          "tensor \"\(tensor.name)\" was planned with the shape \(tensor.shape), which is no number of bytes")
      }
      let (sum, overflow) = total.addingReportingOverflow(count)
      guard !overflow else { throw CheckpointError(.mismatch, "the planned tensors have too many bytes to count") }
      total = sum
      counts.append(count)
    }
    self.tensors = tensors
    totalBytes = total

    var groups: [Range<Int>] = []
    var start = 0
    var filled = 0
    for (at, count) in counts.enumerated() {
      // filled ≤ maxShardBytes unless one tensor alone is larger.
      if at > start, filled > maxShardBytes || count > maxShardBytes - filled {
        groups.append(start..<at)
        (start, filled) = (at, 0)
      }
      filled += count
    }
    groups.append(start..<tensors.count)

    var shards: [Shard] = []
    var places: [Place] = []
    for (number, group) in groups.enumerated() {
      // Stable by hand: equal sizes keep the order of the plan.
      let order = group.sorted { (-tensors[$0].type.bitCount, $0) < (-tensors[$1].type.bitCount, $1) }
      var offsets: [Int: Int] = [:]
      var offset = 0
      for at in order {
        offsets[at] = offset
        offset += counts[at]
      }
      shards.append(
        Shard(
          file: groups.count == 1 ? WeightFiles.single : Self.name(number + 1, of: groups.count),
          tensors: order.map { tensors[$0] }, byteCounts: order.map { counts[$0] }))
      for at in group {
        places.append(
          Place(
            shard: number, offset: offsets[at] ?? 0, byteCount: counts[at], isFirst: at == group.lowerBound,
            isLast: at == group.upperBound - 1))
      }
    }
    self.shards = shards
    self.places = places
  }

  private static func name(_ number: Int, of count: Int) -> String {
    func padded(_ value: Int) -> String {
      let digits = String(value)
      return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
    return "model-\(padded(number))-of-\(padded(count)).safetensors"
  }

  var index: JSON {
    var map = JSON.Object()
    for (tensor, place) in zip(tensors, places) {
      _ = map.append(JSON.Text(tensor.name), .text(shards[place.shard].file))
    }
    return .object([("metadata", .object([("total_size", .int(totalBytes))])), ("weight_map", .object(map))])
  }
}

extension ShardPlan.Shard {
  /// The first bytes of the file: the header's length and the header, padded with spaces to a multiple of eight.
  func header(metadata: [String: String]) throws -> [UInt8] {
    var object = JSON.Object()
    if !metadata.isEmpty {
      object["__metadata__"] = .object(metadata.sorted { $0.key < $1.key }.map { ($0.key, .text($0.value)) })
    }
    var end = 0
    for (tensor, count) in zip(tensors, byteCounts) {
      _ = object.append(
        JSON.Text(tensor.name),
        .object([
          ("dtype", .text(tensor.type.rawValue)), ("shape", .array(tensor.shape.map { .int($0) })),
          ("data_offsets", .array([.int(end), .int(end + count)])),
        ]))
      end += count
    }
    var text = Array(JSON.object(object).serialized().utf8)
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    guard text.count <= SafetensorsHeader.maximumLength else {
      throw CheckpointError(
        .mismatch,
        "\(file) would have a header of \(text.count) bytes; the format allows \(SafetensorsHeader.maximumLength): "
          + "write smaller shards")
    }
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
  }
}
