import Models
import Torch

// Shapes: T tokens of a packed row, H hidden, V vocabulary, M sequences whose next token is asked for.

/// Sequences of several subjects that go on step by step: each step is one walk over the weights, in which every subject
/// computes the new tokens of its sequences. Keys, values and recurrent states of the tokens before are kept.
final class StepwiseWalk {
  private let weights: WeightSource
  private let subjects: [Subject]
  private let slots: SequenceSlots
  /// Whether the subjects' weights are kept from step to step; else each step reads them.
  private let isResident: Bool
  /// By subject and layer.
  private var carries: [[Int: CarriedKeys]]
  private var held: [[Int: LayerWeights]]
  /// By subject.
  private var heads: [Int: OutputHead] = [:]

  private var description: ModelDescription { weights.model.description }

  init(_ weights: WeightSource, _ subjects: [Subject], slots: SequenceSlots, isResident: Bool) {
    self.weights = weights
    self.subjects = subjects
    self.slots = slots
    self.isResident = isResident
    carries = subjects.map { subject in
      Dictionary(uniqueKeysWithValues: subject.layers.map { ($0, CarriedKeys(capacity: slots.capacity)) })
    }
    held = subjects.map { _ in [:] }
  }

  /// Computes new tokens, for each subject those of its sequences.
  ///
  /// - Parameter next: called with the logits after the last of them: subject, number of the step, `[V]`. Not for the shared
  ///   beginning.
  /// - Throws: what reading the weights throws.
  func run(_ steps: [[SequenceStep]], next: (_ subject: Int, _ step: Int, _ logits: [Float]) throws -> Void) throws {
    for step in steps.joined() { try weights.model.check(step.tokens) }
    let rows = steps.map(slots.rows)
    let traits = try rows.map {
      try BatchTraits($0.map(\.batch), dtype: weights.dtype, device: weights.device)
    }
    var hidden = try zip(rows, subjects).map { rows, subject in
      try rows.map { row in
        try weights.embed(
          row.batch.tensor(), places: row.batch.places, keeping: subject.selection.kept(.hidden, layer: nil))
      }
    }
    let active = subjects.indices.filter { !rows[$0].isEmpty }
    let layers = Set(active.flatMap { subjects[$0].layers }).sorted()
    for (number, layer) in layers.enumerated() {
      let members = active.filter { subjects[$0].layers.contains(layer) }
      let used = try load(layer, members)
      if !isResident, number + 1 < layers.count { weights.prefetch(layer: layers[number + 1]) }
      for (subject, weights) in zip(members, used) {
        guard let carry = carries[subject][layer] else { continue }
        for row in rows[subject].indices {
          var context = traits[subject].context(
            row, layer: layer, observer: nil, linearObserver: nil, carry: carry, lastTokensOnly: false)
          context.layerInput = self.weights.layerInput(
            try rows[subject][row].batch.tensor(), layer: layer,
            keeping: subjects[subject].selection.kept(.hidden, layer: nil))
          hidden[subject][row] = try description.layers[layer].forward(
            hidden[subject][row], weights: weights, context: context)
        }
      }
      if !isResident { weights.release(layer: layer) }
    }
    for subject in active {
      let wanted = zip(rows[subject], hidden[subject]).filter { row, _ in
        row.steps.contains { steps[subject][$0].slot != nil }
      }
      try finish(subject, wanted.map { ($0.0, $0.1) }) { try next(subject, $0, $1) }
    }
    if !isResident {
      weights.releaseEmbedding()
      weights.releaseHead()
    }
  }

  /// What two subjects have to have in common for the same weights.
  private struct Cut: Hashable {
    let cuts: [Dimension: [[Int]]]
    let overlay: ObjectIdentifier?
  }

  /// A layer's weights for each of these subjects, in the order in which products are quickest; subjects that are cut alike
  /// share them.
  private func load(_ layer: Int, _ members: [Int]) throws -> [LayerWeights] {
    var wholes: [Bool: LayerWeights] = [:]
    var made: [Cut: LayerWeights] = [:]
    let blocks = description.layers[layer].sublayers.map(\.block)
    return try members.map { member in
      if let known = held[member][layer] { return known }
      let (selection, overlay) = (subjects[member].selection, subjects[member].overlay)
      let cut = Cut(cuts: selection.cuts(inLayer: layer), overlay: overlay.map { ObjectIdentifier($0) })
      let isRotated = weights.rotation(for: selection) != nil
      let used =
        try made[cut]
        ?? {
          let whole = try wholes[isRotated] ?? weights.layer(layer, for: selection)
          wholes[isRotated] = whole
          // As if there were many tokens: there are few at a time, again and again. Experts see fewer.
          let own = try weights.cut(whole, to: selection, layer: layer)
          return try (overlay?.apply(own, of: selection, layer: layer) ?? own)
            .packed(
              rows: SequenceSlots.together, tokens: LayerWeights.worthwhile, inputs: weights.dtype, blocks: blocks)
        }()
      made[cut] = used
      if isResident { held[member][layer] = used }
      return used
    }
  }

  /// Final norm and head for the last tokens of the sequences in some rows.
  private func finish(
    _ subject: Int, _ rows: [(row: SequenceSlots.Row, hidden: Tensor)], _ next: (_ step: Int, [Float]) throws -> Void
  ) throws {
    guard !rows.isEmpty else { return }
    let steps = rows.flatMap(\.row.steps)
    let last = try Tensor.cat(
      rows.map { row, hidden in
        let wanted = row.batch.packing?.wanted ?? []
        return try hidden.select(dim: 0, index: 0)
          .indexSelect(dim: 0, Tensor(wanted.map(Int64.init), shape: [wanted.count]).to(device: weights.device))
      }, dim: 0)  // [M, H]
    let norm = description.finalNorm
    var tensors: [Weight: Tensor] = [:]
    for weight in norm.weights { tensors[weight] = try weights.tensor(weight.name) }
    let own = subjects[subject]
    let cut = try weights.cut(LayerWeights(tensors), to: own.selection, layer: nil)
    let constants = try own.overlay?.apply(cut, of: own.selection, layer: nil) ?? cut
    let head = try heads[subject] ?? OutputHead(weights, of: own)
    if heads[subject] == nil { try head.pack(rows: SequenceSlots.together) }
    if isResident { heads[subject] = head }
    let together = SequenceSlots.together
    for start in stride(from: 0, to: steps.count, by: together) {
      // Always as many: products of one size round alike.
      let places = (start..<start + together).map { Int64(min($0, steps.count - 1)) }
      let states = try last.indexSelect(dim: 0, Tensor(places, shape: [together]).to(device: weights.device))
      let logits = try head.logits(norm.forward(states, weights: constants))
      for row in 0..<min(together, steps.count - start) {
        try next(steps[start + row], logits.select(dim: 0, index: row).floats())
      }
    }
  }
}
