import Models
import Torch

// How a visitor gives weights to a layer that all batches have seen.
extension ChunkWalk {
  /// All batches have seen a leg: the visitor may send them through it again, with other weights.
  ///
  /// - Parameters:
  ///   - used: the weights of each step.
  ///   - packed: the same as they were computed with.
  ///   - ended: steps without a result, for an observer ended them.
  func settle(
    _ leg: Schedule.Leg, _ used: [LayerWeights], _ packed: [LayerWeights], ended: Set<Int>, keepsInputs: Bool
  ) throws {
    guard let visitor else { return }
    var (weights, unfinished) = (used, ended)
    var prepared = zip(used, packed).map { (plain: $0, packed: $1) }
    repeat {
      for (number, step) in leg.steps.enumerated() {
        guard let member = step.members.first,
          let replaced = try visitor.didRun(layer: step.layer, subject: member, weights: weights[number])
        else { continue }
        guard keepsInputs else {
          throw ModelError("a visitor that returns weights has to say so before: replacesWeights")
        }
        weights[number] = replaced
        unfinished.insert(number)
      }
      guard keepsInputs, let layer = leg.steps.first?.layer, try visitor.runsAgain(layer: layer) else { break }
      // A step without new weights keeps the result that it has, also where it is not finished this time.
      unfinished.subtract(Set(leg.steps.indices).subtracting(try run(leg, weights, &prepared, isObserved: true)))
    } while true
    if !unfinished.isEmpty { try run(leg, weights, &prepared, unfinished, isObserved: false) }
    guard keepsInputs else { return }
    for step in leg.steps where step.isLastUse {
      for index in batches.indices { states.remove(.init(path: step.input, batch: index)) }
    }
  }

  /// All batches through some steps of a leg, or all.
  ///
  /// - Parameter prepared: the weights that batches went through with last, and these.
  /// - Returns: the steps that an observer ended.
  @discardableResult
  private func run(
    _ leg: Schedule.Leg, _ weights: [LayerWeights], _ prepared: inout [(plain: LayerWeights, packed: LayerWeights)],
    _ steps: Set<Int>? = nil, isObserved: Bool
  ) throws -> Set<Int> {
    for (number, step) in leg.steps.enumerated() where steps?.contains(number) ?? true {
      prepared[number] = (weights[number], try packed(weights[number], step, after: prepared[number]))
    }
    let carries = leg.steps.map { _ in CarriedKeys() }
    let packed = prepared.map(\.packed)
    return try batches.indices.reduce(into: []) { ended, batch in
      ended.formUnion(
        try run(leg, packed, carries, batch: batch, keepsInputs: true, steps: steps, isObserved: isObserved))
    }
  }
}
