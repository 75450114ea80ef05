public import Models
import Torch

/// How many subjects continue prompts together, and how many prompts at once, so that weights, keys and values fit the memory.
struct ContinuationMemory {
  /// Subjects of one walk: the first ones.
  let subjects: Int
  let slots: SequenceSlots
  /// Whether their weights are kept from step to step.
  let isResident: Bool
  /// Bytes of a subject's weights, and of the keys, values and states of all slots of all subjects.
  let weightBytes: Int, stateBytes: Int

  /// - Parameters:
  ///   - items: numbers of the prompts that are continued.
  ///   - subjects: those that are left to do.
  ///   - together: how many of them share a walk; nil for as many as suit the memory.
  init(
    _ executor: Executor, _ continuations: Continuations, items: [Int], subjects: [Selection], together: Int? = nil
  ) {
    let description = executor.model.description
    let shared = continuations.sharedCount(description)
    let longest = (items.map { continuations.prompts[$0].count }.max() ?? 1) + continuations.maxNewTokens
    let tokens = longest - shared
    let budget = executor.room
    let bytes = max(description.steppedBytes(tokens: tokens, dtype: executor.weights.dtype), 1)
    let weights = subjects.map { description.heldBytes($0, dtype: executor.weights.dtype) }.max() ?? 0
    let whole = max(items.count, 1)
    // With weights read anew for each step it makes no difference how many subjects share a walk: so few that each has
    // as many sequences as possible, whose products are then the largest.
    isResident = weights <= budget / 2
    let held = isResident ? weights : 0
    let count = min(max(together ?? budget / max(held + whole * bytes, 1), 1), max(subjects.count, 1))
    let room = max(budget - count * held, 0) / (count * bytes)
    self.subjects = count
    slots = SequenceSlots(shared: shared, count: min(max(room, 1), whole), tokens: tokens)
    weightBytes = weights
    stateBytes = count * slots.count * bytes
  }
}

extension Executor {
  /// What continuing prompts will read and hold, at most: as if none ended before its last token.
  ///
  /// - Parameters:
  ///   - items: numbers of prompts; nil for all.
  ///   - subjects: what is kept of the model, one for each candidate.
  ///   - continuations: the prompts, and how long they may become.
  public func plan(_ continuations: Continuations, items: [Int]? = nil, subjects: [Selection]) -> WalkPlan {
    let items = items ?? Array(continuations.prompts.indices)
    let memory = ContinuationMemory(self, continuations, items: items, subjects: subjects)
    let stored = weights.storedBytes(layers: Set(subjects.flatMap(\.layers)))
    let groups = (subjects.count + memory.subjects - 1) / memory.subjects
    let waves = (items.count + memory.slots.count - 1) / memory.slots.count
    let passes = memory.isResident ? groups : groups * waves * continuations.maxNewTokens
    return WalkPlan(
      chunks: [], passes: passes, weightBytes: stored, stateBytes: memory.stateBytes, spilledBytes: 0,
      expectedBytes: passes * stored)
  }
}

extension ModelDescription {
  /// Bytes that a sequence of so many tokens keeps from step to step.
  fileprivate func steppedBytes(tokens: Int, dtype: DType) -> Int {
    layers.enumerated().reduce(0) { sum, layer in
      let sizes = sizes(inLayer: layer.offset)
      return layer.element.sublayers.reduce(sum) { sum, sublayer in
        let block = sublayer.block
        // States of recurrences are float32.
        let size = block.cachesTokens ? dtype.byteCount : DType.float32.byteCount
        return sum + block.steppedElements(tokens: tokens, sizes: sizes) * size
      }
    }
  }

  /// Bytes of a selection's layers and head in memory.
  fileprivate func heldBytes(_ selection: Selection, dtype: DType) -> Int {
    func count(_ weight: Weight, _ layer: Int?) -> Int {
      let sizes = sizes(inLayer: layer)
      return zip(weight.axes, selection.keptIndices(of: weight, layer: layer, in: self)).reduce(1) { product, axis in
        product * (axis.1?.count ?? axis.0.size(sizes))
      }
    }
    let layers = selection.layers.reduce(0) { sum, layer in
      self.layers[layer].weights.reduce(sum) { $0 + count($1, layer) }
    }
    return (layers + count(head ?? embedding, nil)) * dtype.byteCount
  }
}
