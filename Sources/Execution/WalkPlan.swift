import Foundation
public import Models

/// How often a walk reads the weights, and where hidden states are meanwhile.
public struct WalkPlan: Sendable {
  /// Batches whose hidden states are held at once; each chunk reads the weights once.
  public let chunks: [[TokenBatch]]
  /// Bytes of weights that one pass reads.
  public let weightBytes: Int
  /// Bytes of hidden states of the largest chunk, and how many of them lie on disk because they do not fit memory.
  public let stateBytes: Int, spilledBytes: Int
  /// Bytes that go to the disk and come back, in all passes: weights once a pass, spilled states in and out at every layer.
  public let expectedBytes: Int

  public var passes: Int { chunks.count }
}

extension Executor {
  /// Divides batches into chunks so that the fewest bytes are moved: several passes over the weights, or one with
  /// hidden states beyond `budget` on disk. The latter pays where the budget is smaller than a layer.
  ///
  /// - Parameter subjects: hidden states of all of them are held at once.
  public func plan(_ batches: [TokenBatch], subjects: [Selection]) -> WalkPlan {
    let description = weights.model.description
    let sizes = description.sizes
    let channels = subjects.reduce(0) { $0 + ($1.kept(.hidden, layer: nil)?.count ?? sizes[.hidden]) }
    // Rows that continue one another stay together.
    var units: [(batches: [TokenBatch], bytes: Int)] = []
    for batch in batches {
      let bytes = batch.paddedCount * channels * weights.dtype.byteCount
      if (batch.packing?.carried ?? 0) > 0, let last = units.indices.last {
        units[last].batches.append(batch)
        units[last].bytes += bytes
      } else {
        units.append(([batch], bytes))
      }
    }
    let layers = Set(subjects.flatMap(\.layers))
    let weightBytes = weights.storedBytes(layers: layers)
    let budget = budget + deviceBudget
    func spilling(_ bytes: Int) -> Int { 2 * layers.count * max(bytes - budget, 0) }

    var chunks: [[TokenBatch]] = []
    var (used, largest, moved) = (Int.max / 2, 0, 0)
    for unit in units {
      if chunks.isEmpty || used + unit.bytes > budget {
        chunks.append([])
        used = 0
        moved += weightBytes + spilling(unit.bytes)
      }
      chunks[chunks.count - 1] += unit.batches
      used += unit.bytes
      largest = max(largest, used)
    }
    let total = units.reduce(0) { $0 + $1.bytes }
    let once = weightBytes + spilling(total)
    if chunks.count > 1, once < moved, hasRoom(total - budget) {
      (chunks, largest, moved) = ([batches], total, once)
    }
    return WalkPlan(
      chunks: chunks, weightBytes: weightBytes, stateBytes: largest, spilledBytes: max(largest - budget, 0),
      expectedBytes: moved)
  }

  /// Whether the scratch directory takes so many bytes, with as many to spare.
  private func hasRoom(_ bytes: Int) -> Bool {
    let facts = try? FileManager.default.attributesOfFileSystem(forPath: scratch)
    return ((facts?[.systemFreeSize] as? NSNumber)?.intValue ?? 0) / 2 > bytes
  }
}
