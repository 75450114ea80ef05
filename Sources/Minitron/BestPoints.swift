/// The best points met so far: by the primary metric, largest first, of equal ones the lower number first.
struct BestPoints {
  private let limit: Int
  private let capacity: Int
  private var points: [(primary: Double, number: Int)] = []
  /// The last of the best, once there are as many as wanted.
  private var last: (primary: Double, number: Int)?

  init(limit: Int) {
    self.limit = max(limit, 0)
    capacity = self.limit < Int.max / 2 ? self.limit + max(self.limit, 16) : .max
    if limit <= 0 { last = (.infinity, -1) }
  }

  /// Whether a point with this primary metric may be among the best.
  func admits(_ primary: Double) -> Bool { last.map { primary >= $0.primary } ?? true }

  /// - Returns: false when no point with this primary metric or a smaller one is among the best.
  mutating func offer(_ primary: Double, number: Int) -> Bool {
    guard admits(primary) else { return false }
    if let last, primary == last.primary, number > last.number { return true }
    points.append((primary, number))
    // Sorted when twice as many are there: cheap for any limit.
    if points.count >= capacity { trim() }
    return true
  }

  private mutating func trim() {
    points.sort { ($0.primary, $1.number) > ($1.primary, $0.number) }
    points.removeLast(max(points.count - limit, 0))
    if points.count == limit, let worst = points.last { last = worst }
  }

  var numbers: [Int] {
    var sorted = self
    sorted.trim()
    return sorted.points.map(\.number)
  }
}
