import Files
import Messages

/// Variables of a launcher, read as numbers that make sense.
struct Variables {
  let environment: Environment
  let launcher: String

  /// The most ranks that are believed.
  static let limit = 1 << 20

  subscript(name: String) -> String? { environment[name] }

  /// - Throws: `RankError` for what is not a number from `range`.
  func number(_ name: String, _ range: ClosedRange<Int> = 0...limit) throws -> Int? {
    guard let text = self[name] else { return nil }
    guard let number = Int(text), range.contains(number) else {
      throw RankError(
        .environment,
        """
        \(launcher) has set \(name)=\(shortened(text)), which should be a number from \(range.lowerBound) to \
        \(range.upperBound). Start the program by the launcher itself, or unset the variable
        """)
    }
    return number
  }

  /// - Throws: `RankError` where it is missing as well.
  func needed(_ name: String, beside other: String, _ range: ClosedRange<Int> = 0...limit) throws -> Int {
    guard let number = try number(name, range) else {
      throw RankError(
        .environment,
        """
        \(launcher) has set \(other), but not \(name), which belongs to it. Start the program by the launcher itself, or \
        unset \(other) to run one process
        """)
    }
    return number
  }

  /// A rank and the number of ranks.
  ///
  /// - Throws: `RankError` unless there are both and they fit each other.
  func ranks(_ rankName: String, of sizeName: String) throws -> (rank: Int, size: Int) {
    let size = try needed(sizeName, beside: rankName, 1...Self.limit)
    let rank = try needed(rankName, beside: sizeName)
    guard rank < size else {
      throw RankError(
        .environment,
        """
        \(rankName)=\(rank) and \(sizeName)=\(size) contradict each other: ranks count from 0. Start the program by the \
        launcher itself, or unset both
        """)
    }
    return (rank, size)
  }

  /// The same among the ranks of one machine, within those of all.
  func locals(_ rankName: String, of sizeName: String, within all: (rank: Int, size: Int)) throws -> (Int, Int) {
    let (rank, size) = try ranks(rankName, of: sizeName)
    guard size <= all.size, rank <= all.rank else {
      throw RankError(
        .environment,
        """
        \(rankName)=\(rank) and \(sizeName)=\(size) do not fit rank \(all.rank) of \(all.size): one machine cannot have \
        more ranks than there are. Start the program by the launcher itself
        """)
    }
    return (rank, size)
  }

  func port(_ name: String) throws -> UInt16? { try number(name, 1...65535).map { UInt16($0) } }

  private func shortened(_ text: String) -> String {
    (text.count > 40 ? text.prefix(40) + "…" : text[...]).debugDescription
  }
}
