import Models
import Torch

// Shapes: T tokens of a packed row.

/// Tokens that a sequence goes on by in a step.
struct SequenceStep {
  /// Where its keys are kept; nil for the tokens that all sequences begin with.
  let slot: Int?
  let tokens: [Int32]
  /// Tokens of the sequence before these, a shared beginning included; 0 where it begins, or begins anew.
  let before: Int
  /// Whether the shared beginning is its own.
  let shares: Bool
}

/// Where the keys of many sequences are: those of a shared beginning, then as many places for each slot, then those of
/// padding.
struct SequenceSlots {
  /// Tokens of the shared beginning.
  let shared: Int
  let count: Int
  /// Tokens that a slot holds, without the shared beginning.
  let tokens: Int

  /// Sequences that go on by one token are computed in rows of so many, filled up with padding. Matrix products of one size
  /// round alike whatever their other rows are: what comes out for a sequence does not depend on what is beside it.
  static let together = 32
  /// Rows of other sequences are multiples of this.
  private static let step = 64

  /// Keys in all.
  var capacity: Int { shared + count * tokens + Self.step }

  private func start(_ slot: Int?) -> Int { slot.map { shared + $0 * tokens } ?? 0 }

  /// A row, and the steps in it, by number, in the order of what is wanted of it.
  typealias Row = (batch: TokenBatch, steps: [Int])

  /// The rows of a step's tokens: sequences with one new token together, each of the others by itself.
  func rows(_ steps: [SequenceStep]) -> [Row] {
    let goingOn = steps.indices.filter { steps[$0].tokens.count == 1 && steps[$0].before > 0 }
    let others = Set(steps.indices).subtracting(goingOn).sorted()
    let tiles = stride(from: 0, to: goingOn.count, by: Self.together).map {
      Array(goingOn[$0..<min($0 + Self.together, goingOn.count)])
    }
    return others.map { row([$0], steps, multipleOf: Self.step) }
      + tiles.map { row($0, steps, multipleOf: Self.together) }
  }

  private func row(_ numbers: [Int], _ steps: [SequenceStep], multipleOf width: Int) -> Row {
    var (packing, row) = (Packing(), [Int32]())
    func append(_ tokens: some Collection<Int32>, before: Int, prefix: Int, own: Int) {
      let kept = before - prefix
      packing.segments.append(
        AttentionSegment(
          query: row.count, queries: tokens.count, prefix: 0, prefixKeys: prefix, own: own, keys: kept + tokens.count))
      packing.positions += before..<before + tokens.count
      packing.stored += own + kept..<own + kept + tokens.count
      row += tokens
    }
    for step in numbers.map({ steps[$0] }) {
      append(step.tokens, before: step.before, prefix: step.shares ? shared : 0, own: start(step.slot))
      packing.wanted.append(row.count - 1)
    }
    let missing = (width - row.count % width) % width
    // A sequence of its own, whose results nobody looks at.
    if missing > 0 { append(repeatElement(0, count: missing), before: 0, prefix: 0, own: start(count)) }
    return (TokenBatch(packed: row, packing), numbers)
  }
}
