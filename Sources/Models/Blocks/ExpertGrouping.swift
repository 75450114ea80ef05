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

  /// For each row before sorting, its place after it.
  package var places: [Int64] {
    var places = [Int64](repeating: 0, count: order.count)
    for (place, row) in order.enumerated() { places[row] = Int64(place) }
    return places
  }

  /// Rows of one expert that are computed together, in the sorted order.
  package struct Pieces {
    package let list: [(expert: Int, rows: Range<Int>)]
    /// Where each begins when they follow one another, padded.
    package let starts: [Int]
    /// Whether there are enough for workers to take one each, not all of them together.
    package let areShared: Bool

    fileprivate init(_ list: [(expert: Int, rows: Range<Int>)], areShared: Bool) {
      self.list = list
      self.areShared = areShared
      var next = 0
      starts = list.map { piece in
        defer { next += ExpertGrouping.paddedCount(piece.rows.count) }
        return next
      }
    }
  }

  /// Matrix products are compiled for each number of rows, and compute blocks of them anyway: so rows come in few numbers.
  package static func paddedCount(_ count: Int) -> Int { (count + 15) / 16 * 16 }

  /// The rows before sorting that these were, then the last of them again.
  package func padded(_ rows: Range<Int>) -> [Int] {
    let own = order[rows]
    return own + Array(repeating: own.last ?? 0, count: Self.paddedCount(rows.count) - rows.count)
  }

  /// Rows of a piece at most where the result must not depend on the number of threads.
  static let observedRows = 256
  /// The same where it must not depend on what else is computed at the same time: every product has this many rows.
  static let steppedRows = 16

  /// Experts without rows have no piece.
  ///
  /// - Parameters:
  ///   - workers: threads; experts with many rows are divided so that none waits long for the last.
  ///   - most: rows of a piece at most, whatever the workers; nil to divide by their number.
  ///   - ends: rows before sorting at which no piece may go on, ascending: the ends of micro-batches.
  package func pieces(workers: Int, most: Int? = nil, ends: [Int] = []) -> Pieces {
    func divided(_ most: Int) -> [(expert: Int, rows: Range<Int>)] {
      var list: [(expert: Int, rows: Range<Int>)] = []
      for (expert, rows) in stretches(ends) {
        let parts = (rows.count - 1) / most + 1
        for part in 0..<parts {
          list.append(
            (
              expert,
              rows.lowerBound + rows.count * part / parts..<rows.lowerBound + rows.count * (part + 1) / parts
            ))
        }
      }
      return list
    }
    // Products of fewer rows are limited by reading weights.
    let list = divided(most ?? max(order.count / max(4 * workers, 1), 64))
    // One product of small pieces rounds differently on several threads than on one.
    let areShared = workers > 1 && (list.count >= 2 * workers || most != nil)
    return areShared || most != nil ? Pieces(list, areShared: areShared) : Pieces(divided(.max), areShared: false)
  }

  /// The rows of each expert in the sorted order, divided at these ends.
  private func stretches(_ ends: [Int]) -> [(expert: Int, rows: Range<Int>)] {
    var list: [(expert: Int, rows: Range<Int>)] = []
    var start = 0
    for (expert, count) in counts.enumerated() {
      let last = start + count
      var first = start
      for end in ends {
        // Rows of an expert are in their order before sorting.
        let next = order[first..<last].partitioningIndex { $0 >= end }
        if next > first { list.append((expert, first..<next)) }
        first = next
      }
      if last > first { list.append((expert, first..<last)) }
      start = last
    }
    return list
  }
}

extension ArraySlice {
  /// The first index of those at which a condition holds that, once it holds, holds to the end.
  fileprivate func partitioningIndex(_ holds: (Element) -> Bool) -> Int {
    var (low, high) = (startIndex, endIndex)
    while low < high {
      let middle = low + (high - low) / 2
      if holds(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
