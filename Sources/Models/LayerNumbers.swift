/// Layers by their numbers, counted from 1, as people write them: `3,5,27-34`.
public struct LayerNumbers: Sendable, Hashable, CustomStringConvertible {
  /// Ascending, with gaps between them. Ranges are not spelled out before the number of layers is known: people may write
  /// any.
  private let ranges: [ClosedRange<Int>]

  /// No layers.
  public init() { ranges = [] }

  /// Reads numbers and ranges with commas between them, in any order; naming a layer twice is the same as naming it once.
  ///
  /// - Throws: `ModelError` for anything else.
  public init(parsing text: String) throws {
    func wrong(_ part: some StringProtocol) -> ModelError {
      ModelError(
        "\"\(part.prefix(40))\" is no layer: give numbers, counted from 1, and ranges, with commas between them, such as 3,5,27-34"
      )
    }
    let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { Self.trimmed($0) }
    guard parts != [""] else { throw ModelError("names no layer; give numbers such as 3,5,27-34, or leave it out") }
    let found = try parts.map { part in
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Self.number(Self.trimmed($0)) }
      guard ends.count <= 2, let first = ends.first ?? nil, let last = ends.last ?? nil else { throw wrong(part) }
      guard first > 0 else { throw ModelError("layers are counted from 1, found \(part.prefix(40))") }
      guard first <= last else {
        throw ModelError("the range \(first)-\(last) has its ends the wrong way round: write \(last)-\(first)")
      }
      return first...last
    }
    var joined: [ClosedRange<Int>] = []
    for range in found.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = joined.last, range.lowerBound - 1 <= last.upperBound {
        joined[joined.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        joined.append(range)
      }
    }
    ranges = joined
  }

  private static func trimmed(_ part: Substring) -> Substring {
    var part = part
    while part.first?.isWhitespace == true { part.removeFirst() }
    while part.last?.isWhitespace == true { part.removeLast() }
    return part
  }

  /// Digits alone: no sign, no digits of other scripts.
  private static func number(_ text: Substring) -> Int? {
    text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int(text) : nil
  }

  public var isEmpty: Bool { ranges.isEmpty }
  /// The highest number; nil where there is none.
  public var last: Int? { ranges.last?.upperBound }

  /// - Parameter layer: counted from 0, as everywhere in code.
  public func contains(_ layer: Int) -> Bool { ranges.contains { $0.contains(layer + 1) } }

  /// Those of a model of `count` layers, counted from 0, ascending.
  public func layers(of count: Int) -> [Int] { (0..<count).filter(contains) }

  /// The lowest number that others name as well; nil where there is none.
  public func firstShared(with other: LayerNumbers) -> Int? {
    var (own, their) = (ranges[...], other.ranges[...])
    while let a = own.first, let b = their.first {
      if a.overlaps(b) { return max(a.lowerBound, b.lowerBound) }
      if a.upperBound < b.upperBound { own.removeFirst() } else { their.removeFirst() }
    }
    return nil
  }

  /// As `init(parsing:)` reads it: ascending, ranges as short as they can be written.
  public var description: String {
    ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ",")
  }
}

/// Layers that somebody has chosen, whatever their scores.
public struct LayerChoice: Sendable, Hashable {
  /// Those that go: no others do.
  public var dropped: LayerNumbers
  /// Those that are kept: others go first.
  public var kept: LayerNumbers

  public init(dropped: LayerNumbers = LayerNumbers(), kept: LayerNumbers = LayerNumbers()) {
    (self.dropped, self.kept) = (dropped, kept)
  }
}
