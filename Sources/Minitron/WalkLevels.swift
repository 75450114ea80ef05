import Models

/// One hyperparameter of a search space, in the order in which a walk fixes them, and the sums of products that are left
/// before it is fixed.
struct WalkLevel {
  /// Its position in the space; nil for a level with one choice that changes nothing.
  let position: Int?
  let choices: Int
  /// What the next choice adds to a point's number.
  let stride: Int
  /// Points that share what was fixed before, and the difference of the highest and lowest of their numbers.
  let points: Int
  let span: Int

  /// Products whose remaining factors are the same are added up in one slot; metric `m` has the slots
  /// `starts[m]..<starts[m + 1]`. For each slot: where it goes on the next level,
  private(set) var next: [Int] = []
  /// where in `factors` the factors lie that it is multiplied with, one for each choice,
  private(set) var column: [Int] = []
  /// and the product of all remaining factors with every choice the lowest, or the highest.
  private(set) var low: [Int] = []
  private(set) var high: [Int] = []
  private(set) var starts: [Int] = [0]
  private(set) var factors: [Int] = []

  private init(position: Int?, choices: Int, stride: Int, points: Int, span: Int) {
    self.position = position
    self.choices = choices
    self.stride = stride
    self.points = points
    self.span = span
  }

  /// - Parameters:
  ///   - order: positions in the space.
  ///   - metrics: those whose sums are wanted.
  /// - Returns: the levels, and the sums of the first.
  static func levels(
    order: [Int?], _ space: SearchSpace, _ counts: SpaceCounts, metrics: [Metric]
  ) -> (levels: [WalkLevel], sums: [Int]) {
    var strides = Array(repeating: 1, count: space.choices.count)
    for position in strides.indices.dropLast().reversed() {
      strides[position] = strides[position + 1] * space.choices[position + 1].values.count
    }
    // From the last level to the first.
    var levels: [WalkLevel] = []
    var slots: [[SpaceCounts.Product: Int]] = metrics.map { _ in [:] }
    for depth in order.indices.reversed() {
      let position = order[depth]
      let after = levels.last
      let choices = position.map { space.choices[$0].values.count } ?? 1
      let stride = position.map { strides[$0] } ?? 0
      var level = WalkLevel(
        position: position, choices: choices, stride: stride, points: choices * (after?.points ?? 1),
        span: (choices - 1) * stride + (after?.span ?? 0))
      let columns = position.map { counts.columns[$0] } ?? [[1]]
      level.factors = Array(columns.joined())
      var numbers: [[SpaceCounts.Product: Int]] = []
      for (index, metric) in metrics.enumerated() {
        var known: [SpaceCounts.Product: Int] = [:]
        for product in counts.terms[metric.rawValue].keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
          let rest = order[depth...].map { position in position.map { product[$0] } ?? 0 }
          guard known[rest] == nil else { continue }
          known[rest] = level.next.count
          let next = slots[index][Array(rest.dropFirst())] ?? 0
          level.next.append(next)
          level.column.append(rest[0] * choices)
          level.low.append((columns[rest[0]].first ?? 1) * (after?.low[next] ?? 1))
          level.high.append((columns[rest[0]].last ?? 1) * (after?.high[next] ?? 1))
        }
        level.starts.append(level.next.count)
        numbers.append(known)
      }
      slots = numbers
      levels.append(level)
    }
    var sums = Array(repeating: 0, count: levels.last?.next.count ?? 0)
    for (index, metric) in metrics.enumerated() {
      for (product, coefficient) in counts.terms[metric.rawValue] {
        if let slot = slots[index][order.map { position in position.map { product[$0] } ?? 0 }] {
          sums[slot] += coefficient
        }
      }
    }
    return (levels.reversed(), sums)
  }
}
