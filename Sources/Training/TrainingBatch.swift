import Execution
import Models
import Torch

/// A row to learn from.
public struct TrainingRow: Sendable, Equatable {
  /// Each token goes in and is the target of the one before it, but for the first and the last.
  public var tokens: [Int32]
  /// Shares in the loss of the tokens after the first: 0 for one that is not learned.
  public var shares: [Float]
  /// How many of its tokens follow one another as a sequence of its own, in their order; nil where all of them do. A sequence sees nothing
  /// of those before it, and its positions begin at 0.
  public var sequences: [Int]?

  public init(tokens: [Int32], shares: [Float], sequences: [Int]? = nil) {
    (self.tokens, self.shares, self.sequences) = (tokens, shares, sequences)
  }

  /// Sequences one after the other that are learned apart. Of each but the first the first token is no target: nothing leads to it.
  ///
  /// - Parameter sequences: each with the shares of the tokens after its first.
  public init(apart sequences: [(tokens: [Int32], shares: [Float])]) {
    tokens = sequences.flatMap(\.tokens)
    shares = Array(sequences.map { $0.shares }.joined(separator: [0]))
    self.sequences = sequences.map(\.tokens.count)
  }
}

/// Rows that are learned from together: a micro-batch.
public struct TrainingBatch: Sendable, Equatable {
  /// Tokens that go in, of each row.
  public let inputs: [[Int32]]
  /// The token after each of them, and its share in the loss: 0 for a token that is not learned.
  public let targets: [[Int32]]
  public let shares: [[Float]]
  /// What each row is called among all of the data; empty where rows have no names.
  public let names: [String]
  /// All rows as one without padding, where they hold sequences that are learned apart; nil where each row is a sequence.
  let packing: Packing?

  /// Rows whose every token but the first is learned: `[S + 1]` tokens give S pairs.
  public init(rows: [[Int32]], names: [String] = []) {
    self.init(
      rows.map { TrainingRow(tokens: $0, shares: Array(repeating: 1, count: max($0.count - 1, 0))) }, names: names)
  }

  /// - Parameters:
  ///   - names: what each row is called among all of the data, the same in every process; empty for none.
  ///   - rows: that go through the model together.
  public init(_ rows: [TrainingRow], names: [String] = []) {
    self.names = names
    inputs = rows.map { Array($0.tokens.dropLast()) }
    targets = rows.map { Array($0.tokens.dropFirst()) }
    shares = rows.map(\.shares)
    guard rows.contains(where: { $0.sequences != nil }) else {
      packing = nil
      return
    }
    var packing = Packing()
    for row in rows {
      var sequences = row.sequences ?? [row.tokens.count]
      // The last token does not go in.
      if let last = sequences.indices.last { sequences[last] -= 1 }
      for count in sequences where count > 0 {
        let first = packing.positions.count
        packing.segments.append(AttentionSegment(query: first, queries: count, own: first, keys: count))
        packing.positions += 0..<count
      }
    }
    packing.wanted = Array(packing.positions.indices)
    self.packing = packing
  }

  /// Tokens that go in.
  public var tokenCount: Int { inputs.reduce(0) { $0 + $1.count } }
  /// What the shares add up to.
  var weight: Double { shares.reduce(0) { $0 + $1.reduce(0) { $0 + Double($1) } } }
  /// Tokens of each row as it goes in, and of the longest.
  var lengths: [Int] { packing == nil ? inputs.map(\.count) : [tokenCount] }
  var width: Int { lengths.max() ?? 0 }
  var batch: TokenBatch { packing.map { TokenBatch(packed: inputs.flatMap { $0 }, $0) } ?? TokenBatch(inputs) }

  /// Where the tokens of row `index` are among all that go in.
  func place(ofRow index: Int) -> Range<Int> {
    let first = packing == nil ? index * width : inputs[..<index].reduce(0) { $0 + $1.count }
    return first..<first + inputs[index].count
  }

  /// A list of the rows' values, each filled up to the width: `[B × S]`.
  func flat<T>(_ rows: [[T]], filling: T) -> [T] {
    guard packing == nil else { return rows.flatMap { $0 } }
    return rows.flatMap { $0 + Array(repeating: filling, count: width - $0.count) }
  }
}
