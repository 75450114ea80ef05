import Foundation
public import Models

/// How often a walk reads the weights, and where hidden states are meanwhile.
public struct WalkPlan: Sendable {
  /// Batches whose hidden states are held at once; each chunk reads the weights once. None where tokens are yet to be generated.
  public let chunks: [[TokenBatch]]
  /// Times that the weights are read.
  public let passes: Int
  /// Bytes of weights that one pass reads.
  public let weightBytes: Int
  /// Bytes of hidden states of the largest chunk, and how many of them lie on disk because they do not fit memory.
  public let stateBytes: Int, spilledBytes: Int
  /// Bytes that go to the disk and come back, in all passes: weights once a pass, spilled states in and out at every band
  /// of layers.
  public let expectedBytes: Int
}

extension Executor {
  /// Divides batches into chunks so that the fewest bytes are moved: several passes over the weights, or one with
  /// hidden states beyond `budget` on disk. The latter pays where the budget is smaller than a layer.
  ///
  /// - Parameters:
  ///   - subjects: hidden states of all of them are held at once.
  ///   - batches: rows of tokens.
  ///   - stage: the layers that this process computes; nil for all.
  public func plan(_ batches: [TokenBatch], subjects: [Selection], stage: WalkStage? = nil) -> WalkPlan {
    let stateBytes = stateBytes(subjects)
    // Rows that continue one another are kept together.
    var units: [(batches: [TokenBatch], bytes: Int)] = []
    for batch in batches {
      let bytes = stateBytes(batch)
      if (batch.packing?.carried ?? 0) > 0, let last = units.indices.last {
        units[last].batches.append(batch)
        units[last].bytes += bytes
      } else {
        units.append(([batch], bytes))
      }
    }
    let weightBytes = weights.storedBytes(
      layers: Set(subjects.flatMap(\.layers).filter { stage?.layers.contains($0) ?? true }))
    let budget = budget + deviceBudget
    let bands = bandRule(subjects.map { Subject($0) }, stage)
    func spilling(_ bytes: Int) -> Int { bands(bytes).spilledBytes }

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
      chunks: chunks, passes: chunks.count, weightBytes: weightBytes, stateBytes: largest,
      spilledBytes: max(largest - budget, 0),
      expectedBytes: moved)
  }

  /// Bytes of a batch's hidden states, those of all subjects together.
  private func stateBytes(_ subjects: [Selection]) -> (TokenBatch) -> Int {
    let hidden = weights.model.description.sizes[.hidden]
    // Keys and values that layers lend to later ones lie beside the stream.
    let lent = weights.model.description.layers.map(\.lentChannels).max() ?? 0
    let channels = subjects.reduce(0) { $0 + lent + ($1.kept(.hidden, layer: nil)?.count ?? hidden) }
    return { [weights] in $0.paddedCount * channels * weights.dtype.byteCount }
  }

  /// How many layers are in memory together while these batches are walked.
  func bandSize(_ batches: [TokenBatch], _ subjects: [Subject], _ stage: WalkStage?) -> BandSize {
    let bytes = stateBytes(subjects.map(\.selection))
    return bandRule(subjects, stage)(batches.reduce(0) { $0 + bytes($1) })
  }

  /// The same for so many bytes of hidden states.
  private func bandRule(_ subjects: [Subject], _ stage: WalkStage?) -> (Int) -> BandSize {
    let description = weights.model.description
    let layers = Set(subjects.flatMap(\.layers)).filter { stage?.layers.contains($0) ?? true }.sorted()
    let isPart = stage?.isPart ?? false
    let (rule, device, budget, elementBytes) = (bands, weights.device, budget + deviceBudget, weights.dtype.byteCount)
    // Thought about only where the answer depends on it: hidden states that fit are walked a layer at a time.
    lazy var layerBytes = {
      // Of every group of subjects that a layer is computed for there is a copy.
      let apart = Schedule(subjects, starts: subjects.map { _ in 0 }, bands: layers.map { $0..<$0 + 1 })
      let copies = layers.map(apart.steps).max() ?? 1
      let largest = layers.map { layer in
        let sizes = description.sizes(inLayer: layer)
        return description.layers[layer].weights.reduce(0) { $0 + $1.elementCount(sizes) }
      }
      return (largest.max() ?? 0) * copies * elementBytes
    }()
    func size(_ count: Int, _ bytes: Int) -> BandSize {
      BandSize(
        layers: max(min(count, layers.count), 1), count: layers.count, layerBytes: count > 1 ? layerBytes : 0,
        stateBytes: bytes, budget: budget)
    }
    return { bytes in
      switch rule {
      case .layers(let count): return size(count, bytes)
      // A batch that has gone through all layers of a stage can go on while the next one does.
      case .automatic where isPart && (layers.count - 1) * layerBytes <= budget / 2: return size(layers.count, bytes)
      // On an accelerator layers would take its memory, and states wait in the machine's before they go to the disk.
      case .automatic where bytes <= budget || device != .cpu: return size(1, bytes)
      case .automatic: return .best(count: layers.count, layerBytes: layerBytes, stateBytes: bytes, budget: budget)
      }
    }
  }

  /// Whether the scratch directory takes so many bytes, with as many to spare.
  private func hasRoom(_ bytes: Int) -> Bool {
    let facts = try? FileManager.default.attributesOfFileSystem(forPath: scratch)
    return ((facts?[.systemFreeSize] as? NSNumber)?.intValue ?? 0) / 2 > bytes
  }
}
