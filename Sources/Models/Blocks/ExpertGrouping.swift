/// Tokens sorted by the expert they go to, so that each expert sees all of its tokens in one matrix product.
///
/// A *routed row* is one token at one of its experts; row `token × perToken + slot` before sorting.
package struct ExpertGrouping: Sendable, Equatable {
  /// Routed rows of each expert.
  package let counts: [Int]
  /// For each row in sorted order, the row it was: expert after expert, tokens ascending within each.
  package let order: [Int]

  /// - Parameters:
  ///   - experts: for each routed row its expert (0-based).
  ///   - count: how many experts there are.
  /// - Throws: `ModelError` for an expert that does not exist.
  package init(_ experts: [Int64], count: Int) throws {
    var counts = [Int](repeating: 0, count: count)
    for expert in experts {
      guard expert >= 0, expert < count else {
        throw ModelError("a token was routed to expert \(expert) of \(count)")
      }
      counts[Int(expert)] += 1
    }
    var next: [Int] = []
    next.reserveCapacity(count)
    var start = 0
    for rows in counts {
      next.append(start)
      start += rows
    }
    var order = [Int](repeating: 0, count: experts.count)
    for (row, expert) in experts.enumerated() {
      order[next[Int(expert)]] = row
      next[Int(expert)] += 1
    }
    self.counts = counts
    self.order = order
  }
}
