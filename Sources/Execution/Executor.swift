import Files
import Foundation
public import Models
public import Torch

// Shapes: B rows, S tokens, H hidden.

/// Walks a model layer by layer: bring a layer in, run every batch of every subject through it, let it go.
///
/// The model is never in memory as a whole. Several subjects (the original and candidates cut from it) share
/// one walk: each layer is read once and sliced for each subject, and subjects that are cut alike up to some layer are
/// computed once up to there.
public final class Executor {
  public let weights: WeightSource
  /// Bytes of hidden states that may be in the machine's memory; what is beyond lies in `scratch`.
  public let budget: Int
  /// Bytes of hidden states that may be on the device, where that is not the CPU; others wait in the machine's memory.
  public let deviceBudget: Int
  /// The directory for what does not fit the memory.
  public let scratch: String
  private var model: SourceModel { weights.model }

  /// - Parameters:
  ///   - dtype: the type computed with.
  ///   - budget: bytes of hidden states in memory.
  ///   - deviceBudget: bytes of hidden states on an accelerator.
  ///   - scratch: a directory for those beyond; nil for the system's temporary one.
  public init(
    _ model: SourceModel, dtype: DType, device: Device = .cpu, budget: Int = MemoryBudget.automatic(),
    deviceBudget: Int? = nil, scratch: String? = nil
  ) {
    weights = WeightSource(model, dtype: dtype, device: device)
    self.budget = budget
    self.deviceBudget = device == .cpu ? 0 : deviceBudget ?? MemoryBudget.automatic(device: device)
    self.scratch = scratch ?? Environment.process.temporaryDirectory
  }

  /// What happens at the end of a walk with one batch of one subject.
  /// - Parameter hidden: `[B, S, H]` after the final norm; of a packed row its wanted tokens, `[1, W, H]`.
  public typealias Finish = (_ subject: Int, _ batch: Int, _ hidden: Tensor, _ head: OutputHead) throws -> Void

  /// Lets `observer` see the activations of the whole model. Neither final norm nor head are computed.
  ///
  /// - Parameter progress: called with the number of token-layers done, of `work(batches:subjects:)`.
  public func observe(
    _ batches: [TokenBatch], observer: any TapObserver, progress: (Int) -> Void = { _ in }
  ) throws {
    _ = try walk(batches, [Selection(all: model.description)], observer, progress)
  }

  /// One walk, whatever the memory budget: `plan` says how to divide batches.
  ///
  /// - Parameters:
  ///   - subjects: what stays of the model, one each. Hidden states of all of them are held at once.
  ///   - progress: called with the number of token-layers done, of `work(batches:subjects:)`.
  ///   - finish: called for every batch of every subject at the end of the walk.
  public func run(
    _ batches: [TokenBatch], subjects: [Selection], progress: (Int) -> Void, finish: Finish
  ) throws {
    let (states, paths) = try walk(batches, subjects, nil, progress)
    try end(batches, subjects, states, paths, finish)
  }

  public func run(_ batches: [TokenBatch], subjects: [Selection], finish: Finish) throws {
    try run(batches, subjects: subjects, progress: { _ in }, finish: finish)
  }

  /// The hidden states after the last layer, and each subject's way to them.
  private func walk(
    _ batches: [TokenBatch], _ subjects: [Selection], _ observer: (any TapObserver)?, _ progress: (Int) -> Void
  ) throws -> (states: StateStore, paths: [Int]) {
    try check(batches)
    let description = model.description
    let states = StateStore(budget: budget, deviceBudget: deviceBudget, scratch: scratch)
    weights.prefetch(layer: subjects.compactMap(\.layers.first).min() ?? 0)
    var paths = try embed(batches, subjects, into: states)
    let traits = try BatchTraits(batches, dtype: weights.dtype, device: weights.device)
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }

    var done = 0
    for layer in description.layers.indices {
      let takers = subjects.indices.filter { subjects[$0].layers.contains(layer) }
      if takers.isEmpty { continue }
      let groups = LayerGroup.groups(takers, subjects, paths, layer: layer)
      let whole = try weights.layer(layer)
      let next = subjects.compactMap { $0.layers.first { $0 > layer } }.min()
      if let next { weights.prefetch(layer: next) }
      var nextPath = (paths.max() ?? 0) + 1
      // Ways that some subject still stands at: those that skip this layer, and groups that are yet to come.
      var waiting = paths
      for group in groups {
        let ready = try prepared(
          whole, for: subjects[group.members[0]], layer: layer, alone: groups.count == 1, batches)
        for member in group.members { waiting[member] = nextPath }
        let isDone = !waiting.contains(group.path)
        let carry = CarriedKeys()
        for index in batches.indices {
          let context = traits.context(
            index, layer: layer, observer: observer, carry: carry, trims: group.isLast)
          let input = try states.get(.init(path: group.path, batch: index))
          let output = try description.layers[layer].forward(input, weights: ready, context: context)
          if isDone { states.remove(.init(path: group.path, batch: index)) }
          try states.put(.init(path: nextPath, batch: index), output)
          done += batches[index].tokenCount * group.members.count
          progress(done)
        }
        nextPath += 1
      }
      paths = waiting
      weights.release(layer: layer)
    }
    progress(tokens * subjects.reduce(0) { $0 + $1.layers.count })
    return (states, paths)
  }

  /// Embeds all batches for subjects with the same channels once.
  private func embed(_ batches: [TokenBatch], _ subjects: [Selection], into states: StateStore) throws -> [Int] {
    let channels = subjects.map { $0.kept(.hidden, layer: nil) }
    let distinct = channels.enumerated().filter { channels.firstIndex(of: $0.element) == $0.offset }.map(\.element)
    let kept = try distinct.map { kept in
      try kept.map { try Tensor($0.map(Int64.init), shape: [$0.count]).to(device: weights.device) }
    }
    for (index, batch) in batches.enumerated() {
      let embedded = try weights.embed(batch.tensor())
      for (path, kept) in kept.enumerated() {
        let state = try kept.map { try embedded.indexSelect(dim: 2, $0) } ?? embedded
        try states.put(.init(path: path, batch: index), state)
      }
    }
    weights.releaseEmbedding()
    return channels.map { distinct.firstIndex(of: $0) ?? 0 }
  }

  /// A layer's weights as a subject has them, in the order that suits so many tokens.
  ///
  /// - Parameter alone: no other subject needs the layer: what has been copied can go.
  private func prepared(
    _ whole: LayerWeights, for subject: Selection, layer: Int, alone: Bool, _ batches: [TokenBatch]
  ) throws -> LayerWeights {
    let sliced = try whole.sliced(by: subject, layer: layer, sizes: model.description.sizes)
    let tokens = batches.reduce(0) { $0 + $1.paddedCount }
    let blocks = model.description.layers[layer].sublayers.map(\.block)
    let rows = batches.map(\.paddedCount).max() ?? 1
    return try sliced.packed(rows: rows, tokens: tokens, inputs: weights.dtype, blocks: blocks) { weight in
      if alone { weights.release(weight, layer: layer) }
    }
  }

  private func end(
    _ batches: [TokenBatch], _ subjects: [Selection], _ states: StateStore, _ paths: [Int], _ finish: Finish
  ) throws {
    let norm = model.description.finalNorm
    var tensors: [Weight: Tensor] = [:]
    for weight in norm.weights { tensors[weight] = try weights.tensor(weight.name) }
    for (subject, selection) in subjects.enumerated() {
      let sliced = try LayerWeights(tensors).sliced(by: selection, layer: nil, sizes: model.description.sizes)
      let head = try OutputHead(weights, selection: selection)
      for batch in batches.indices {
        let state = try states.get(.init(path: paths[subject], batch: batch))
        try finish(subject, batch, norm.forward(state, weights: sliced), head)
      }
    }
    weights.releaseEmbedding()
    if let head = model.description.head { model.checkpoint.release([head.name]) }
  }

  /// Token-layers of a walk: what `progress` counts up to.
  public static func work(_ batches: [TokenBatch], subjects: [Selection]) -> Int {
    batches.reduce(0) { $0 + $1.tokenCount } * subjects.reduce(0) { $0 + $1.layers.count }
  }

  private func check(_ batches: [TokenBatch]) throws {
    for batch in batches {
      for row in batch.rows { try model.check(row) }
    }
  }
}

/// Subjects that came the same way and are cut alike in a layer: they are computed once.
package struct LayerGroup {
  let path: Int
  package var members: [Int]
  /// Whether this is their last layer.
  let isLast: Bool

  private struct Cut: Hashable {
    let path: Int
    let cuts: [Models.Dimension: [[Int]]]
    let isLast: Bool
  }

  package static func groups(_ takers: [Int], _ subjects: [Selection], _ paths: [Int], layer: Int) -> [LayerGroup] {
    var groups: [LayerGroup] = []
    var known: [Cut: Int] = [:]
    for taker in takers {
      let subject = subjects[taker]
      let cut = Cut(
        path: paths[taker], cuts: subject.cuts(inLayer: layer), isLast: subject.layers.last == layer)
      if let at = known[cut] {
        groups[at].members.append(taker)
      } else {
        known[cut] = groups.count
        groups.append(LayerGroup(path: cut.path, members: [taker], isLast: cut.isLast))
      }
    }
    return groups
  }
}

/// What batches need in every layer: positions, made once.
private struct BatchTraits {
  private let batches: [TokenBatch]
  private var positions: [Positions] = []
  private var packed: [(wantedPositions: Positions, wanted: Tensor)?] = []

  init(_ batches: [TokenBatch], dtype: DType, device: Device) throws {
    self.batches = batches
    var byWidth: [Int: Positions] = [:]
    for batch in batches {
      if let packing = batch.packing {
        let lengths = packing.lengths
        positions.append(Positions(places: packing.positions, lengths: lengths, dtype: dtype, device: device))
        packed.append(
          (
            Positions(
              places: packing.wanted.map { packing.positions[$0] }, lengths: packing.wanted.map { lengths[$0] },
              dtype: dtype, device: device),
            try Tensor(packing.wanted.map(Int64.init), shape: [packing.wanted.count]).to(device: device)
          ))
      } else {
        let shared = byWidth[batch.width] ?? Positions(count: batch.width, dtype: dtype, device: device)
        byWidth[batch.width] = shared
        positions.append(shared.rows(lengths: batch.lengths))
        packed.append(nil)
      }
    }
  }

  func context(
    _ index: Int, layer: Int, observer: (any TapObserver)?, carry: CarriedKeys, trims: Bool
  ) -> ForwardContext {
    let batch = batches[index]
    var packed: PackedContext?
    if let packing = batch.packing, let traits = self.packed[index] {
      packed = PackedContext(
        packing, wantedPositions: traits.wantedPositions, wanted: traits.wanted, carry: carry)
      packed?.trims = trims
    }
    return ForwardContext(
      layer: layer, lengths: batch.lengths, positions: positions[index], observer: observer, packed: packed)
  }
}

extension SourceModel {
  /// - Throws: `ModelError` when a row is empty or holds a token that the embedding has no row for.
  func check(_ row: [Int32]) throws {
    guard !row.isEmpty else { throw ModelError("a row without tokens cannot go through a model") }
    let vocabulary = description.sizes[.vocabulary]
    if let token = row.first(where: { $0 < 0 || $0 >= vocabulary }) {
      throw ModelError(
        "the token number \(token) is outside the model's vocabulary of \(vocabulary): the tokenizer in "
          + "\(checkpoint.directory) does not belong to these weights")
    }
  }
}
