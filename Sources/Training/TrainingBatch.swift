import Execution

/// Rows that are learned from together: a micro-batch.
public struct TrainingBatch: Sendable, Equatable {
  /// Tokens that go in, of each row.
  public let inputs: [[Int32]]
  /// The token after each of them, and its share in the loss: 0 for a token that is not learned.
  public let targets: [[Int32]]
  public let shares: [[Float]]
  /// What each row is called among all of the data; empty where rows have no names.
  public let names: [String]

  /// Rows whose every token but the first is learned: `[S + 1]` tokens give S pairs.
  public init(rows: [[Int32]], names: [String] = []) {
    self.init(rows: rows, shares: rows.map { Array(repeating: 1, count: max($0.count - 1, 0)) }, names: names)
  }

  /// - Parameters:
  ///   - shares: of the tokens after the first, one list for each row.
  ///   - names: what each row is called among all of the data, the same in every process; empty for none.
  public init(rows: [[Int32]], shares: [[Float]], names: [String] = []) {
    self.names = names
    inputs = rows.map { Array($0.dropLast()) }
    targets = rows.map { Array($0.dropFirst()) }
    self.shares = shares
  }

  /// Tokens that go in.
  public var tokenCount: Int { inputs.reduce(0) { $0 + $1.count } }
  /// What the shares add up to.
  var weight: Double { shares.reduce(0) { $0 + $1.reduce(0) { $0 + Double($1) } } }
  var width: Int { inputs.map(\.count).max() ?? 0 }
  var batch: TokenBatch { TokenBatch(inputs) }

  /// A list of the rows' values, each filled up to the width: `[B × S]`.
  func flat<T>(_ rows: [[T]], filling: T) -> [T] {
    rows.flatMap { $0 + Array(repeating: filling, count: width - $0.count) }
  }
}
