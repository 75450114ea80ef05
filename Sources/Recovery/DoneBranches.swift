import Torch

/// The pruned model's residual stream in a layer after the branches that are refitted: they are not computed again for those that
/// follow. From what goes into a branch's last map, and the stream before it, all that is left to do for the branch is that map.
///
/// Shapes: `[B, S, C]`, padding included.
final class DoneBranches {
  private let batches: Int, room: Int
  /// How many are done.
  private var branch = 0
  /// Of each batch the stream before that branch, or before the one that `map` ends. None where there was no room.
  private var streams: [Tensor] = []
  /// Of each batch what goes into `map`, until that is computed.
  private var inputs: [Tensor?] = []
  private var map: (weight: Tensor, bias: Tensor?, scale: Double?)?

  /// What is seen of the branch that is refitted.
  private var seen: [(stream: Tensor, input: Tensor)] = []
  private var isFull = false

  /// - Parameters:
  ///   - batches: that go through the layer.
  ///   - room: bytes.
  init(batches: Int, room: Int) { (self.batches, self.room) = (batches, room) }

  /// Whether a stream is one of those that are kept here.
  func kept(_ stream: Tensor) -> Bool { streams.contains { $0 === stream } }

  /// What goes into the last map of a branch, batch after batch.
  ///
  /// - Parameters:
  ///   - stream: before the branch; not copied.
  ///   - other: bytes of the room that something else has.
  func see(stream: Tensor, input: Tensor, beside other: Int) throws {
    if isFull { return }
    let streams = max(self.streams.count, seen.count + 1) * stream.byteCount
    if other + streams + (seen.count + 1) * input.byteCount > room {
      (seen, isFull) = ([], true)
    } else {
      // A block may use the memory again.
      seen.append((stream, try input.clone()))
    }
  }

  /// The last map of a branch is what it will be.
  func end(_ branch: Int, map: Tensor, bias: Tensor?, scale: Double?) throws {
    defer { (seen, isFull) = ([], false) }
    guard seen.count == batches, let first = seen.first else { return }
    self.branch = branch + 1
    (streams, inputs) = (seen.map(\.stream), seen.map(\.input))
    self.map = (
      try map.packedForLinear(rows: first.input.shape.dropLast().reduce(1, *), inputs: first.input.dtype), bias, scale
    )
  }

  /// The stream of a batch before the first branch that is not done, and its number; nil for the layer's start.
  func resumption(_ batch: Int) throws -> (branch: Int, stream: Tensor)? {
    guard streams.indices.contains(batch) else { return nil }
    if let map, let input = inputs[batch] {
      var given = try input.linear(weight: map.weight, bias: map.bias)
      if let scale = map.scale { given = try given.multiplied(by: scale) }
      streams[batch] = try streams[batch].adding(given)
      inputs[batch] = nil
    }
    return (branch, streams[batch])
  }
}
