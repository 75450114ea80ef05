import Torch

/// Rows of tokens that go through the model together: `[B, S]`, padded on the right.
public struct TokenBatch: Sendable {
  public let rows: [[Int32]]
  /// Valid tokens of each row.
  public var lengths: [Int] { rows.map(\.count) }
  /// The longest row's tokens (S).
  public let width: Int

  /// - Parameter width: tokens to pad to; never fewer than the longest row has.
  public init(_ rows: [[Int32]], width: Int = 0) {
    self.rows = rows
    self.width = max(rows.map(\.count).max() ?? 0, width)
  }

  /// Consecutive rows in groups of `size`, the last one possibly smaller.
  public static func groups(_ rows: [[Int32]], size: Int) -> [TokenBatch] {
    stride(from: 0, to: rows.count, by: max(size, 1)).map {
      TokenBatch(Array(rows[$0..<min($0 + max(size, 1), rows.count)]))
    }
  }

  /// Puts consecutive batches of full rows of one length together, up to `tokens` tokens: small ones leave the
  /// processor waiting. A batch with a shorter row stays by itself.
  public static func packed(_ batches: [TokenBatch], tokens: Int) -> [TokenBatch] {
    var result: [TokenBatch] = []
    for batch in batches {
      let isFull = batch.rows.allSatisfy { $0.count == batch.width }
      if isFull, let last = result.last, last.width == batch.width, last.rows.allSatisfy({ $0.count == last.width }),
        (last.rows.count + batch.rows.count) * batch.width <= tokens
      {
        result[result.count - 1] = TokenBatch(last.rows + batch.rows)
      } else {
        result.append(batch)
      }
    }
    return result
  }

  public var tokenCount: Int { rows.reduce(0) { $0 + $1.count } }

  /// Token numbers, `[B, S]` int64; padding is token 0.
  func tensor() throws -> Tensor {
    var values = [Int64](repeating: 0, count: rows.count * width)
    for (index, row) in rows.enumerated() {
      for (position, token) in row.enumerated() { values[index * width + position] = Int64(token) }
    }
    return try Tensor(values, shape: [rows.count, width])
  }
}
