import Models

/// A walk through a search space that finds its best points and counts those that fit, without visiting each.
///
/// Hyperparameters are fixed one after another. Every count grows with each of them, so the points with all others at
/// their lowest or their highest choice bound all that share those fixed so far: a part of the space where nothing or
/// everything fits is counted as a whole, and one that holds none of the best is not entered. Along the last
/// hyperparameter, the one with the most choices, the points that fit are those up to some choice, found by bisection.
///
/// Hyperparameters that rules look at come first: what a rule refuses is refused whatever the others are.
struct SearchWalk {
  private(set) var fitting = 0
  private(set) var refused = 0
  /// The number of the last refused point; nil: none is.
  private(set) var lastRefused: Int?
  private var best: BestPoints

  private let levels: [WalkLevel]
  /// Rules that can be asked once so many levels are fixed, and the number of levels after which all have been.
  private let rules: [[AskedRule]]
  private let ruled: Int
  /// What is counted: what is constrained, and the primary metric.
  private let metrics: [Metric]
  private let primary: Int
  /// By metric, the largest count that fits; -1: none does.
  private let limits: [Int]

  /// Level by level the sums for the choices made so far.
  private var sums: [Int]
  private let starts: [Int]
  /// What the best are chosen by in place of the primary metric, and by level what the choices made so far cost.
  private let goal: WalkGoal?
  private var spent: [Double]
  /// The choices made so far of what rules look at, by position in the space.
  private var chosen: [Int]

  private var done = 0
  private var unreported = 0
  private let progress: (Int) -> Void

  /// - Parameters:
  ///   - ranking: layer numbers (0-based), best first.
  ///   - forecast: what the best are chosen by; nil for the primary metric.
  ///   - progress: told now and then how many points have been dealt with.
  init(
    _ model: ModelDescription, _ space: SearchSpace, _ settings: SearchSettings, _ constraints: Constraints,
    ranking: [Int], forecast: Forecast? = nil, progress: @escaping (Int) -> Void = { _ in }
  ) {
    self.progress = progress
    chosen = Array(repeating: 0, count: space.choices.count)
    best = BestPoints(limit: settings.topK)
    metrics = Metric.allCases.filter { constraints[$0] != nil || $0 == constraints.primaryMetric }
    primary = metrics.firstIndex(of: constraints.primaryMetric) ?? 0
    let order: [Int?]
    (order, rules, ruled) = Self.order(space, model, ranking)
    let counts = SpaceCounts(
      model, space: space, ranking: ranking, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
    let (levels, first) = WalkLevel.levels(order: order, space, counts, metrics: metrics)
    self.levels = levels
    goal = forecast.map { WalkGoal($0, levels) }
    spent = Array(repeating: 0, count: levels.count + 1)
    var starts = [0]
    for level in levels { starts.append((starts.last ?? 0) + level.next.count) }
    self.starts = starts
    sums = first + Array(repeating: 0, count: (starts.last ?? 0) - first.count)
    limits = metrics.enumerated().map { index, metric in
      let slots = levels[0].starts[index]..<levels[0].starts[index + 1]
      let highest = slots.reduce(0) { $0 + first[$1] * levels[0].high[$1] }
      guard let limit = constraints[metric] else { return highest }
      return bisect(highest + 1) { metric.value($0) <= limit } - 1
    }
  }

  /// The order in which hyperparameters are fixed: those of rules, the ones with the fewest combinations first; then the
  /// others, the one with the most choices last.
  private static func order(
    _ space: SearchSpace, _ model: ModelDescription, _ ranking: [Int]
  ) -> ([Int?], [[AskedRule]], Int) {
    func fewestFirst(_ positions: some Sequence<Int>) -> [Int] {
      positions.sorted { (space.choices[$0].values.count, $0) < (space.choices[$1].values.count, $1) }
    }
    let rules = model.shapeRules.map { AskedRule($0, space, model, ranking) }
    var order: [Int?] = []
    for rule in rules.sorted(by: { $0.combinations < $1.combinations }) {
      order += fewestFirst(rule.positions).filter { !order.contains($0) }
    }
    let ruled = order.count
    order += fewestFirst(space.choices.indices).filter { !order.contains($0) }
    // The last level is one that rules do not look at.
    if order.count == ruled { order.append(nil) }
    let asked = (0...ruled).map { fixed in
      rules.filter { rule in (rule.positions.compactMap { order.firstIndex(of: $0) }.max() ?? -1) == fixed - 1 }
    }
    return (order, asked, ruled)
  }

  /// Walks the whole space. Afterwards `fitting`, `refused` and `lastRefused` hold.
  ///
  /// - Returns: the numbers of the best points, best first, of equal ones the lower number first.
  mutating func run() -> [Int] {
    if refuses(0) { leave(0, from: 0) } else { visit(0, from: 0, isCounting: true) }
    return best.numbers
  }

  // MARK: Whole walks

  /// - Parameters:
  ///   - depth: levels that are fixed.
  ///   - first: the lowest number of the points that share them.
  ///   - isCounting: false where they all fit and have been counted, and only the best are looked for.
  private mutating func visit(_ depth: Int, from first: Int, isCounting: Bool) {
    if depth == levels.count - 1 { return visitLine(from: first, isCounting: isCounting) }
    var isCounting = isCounting
    if depth >= ruled {
      if metrics.indices.contains(where: { lowest(depth, $0) > limits[$0] }) { return report(levels[depth].points) }
      if metrics.indices.allSatisfy({ highest(depth, $0) <= limits[$0] }) {
        if isCounting {
          fitting += levels[depth].points
          report(levels[depth].points)
          isCounting = false
        }
        guard best.admits(goal?.bound(depth, spent[depth]) ?? metrics[primary].value(highest(depth, primary))) else {
          return
        }
      }
    }
    for choice in (0..<levels[depth].choices).reversed() {
      let first = first + choice * levels[depth].stride
      if choose(depth, choice) {
        visit(depth + 1, from: first, isCounting: isCounting)
      } else {
        leave(depth + 1, from: first)
      }
    }
  }

  /// Counts points that a rule refuses.
  private mutating func leave(_ depth: Int, from first: Int) {
    refused += levels[depth].points
    lastRefused = max(lastRefused ?? 0, first + levels[depth].span)
    report(levels[depth].points)
  }

  /// The points that differ in the last hyperparameter alone.
  private mutating func visitLine(from first: Int, isCounting: Bool) {
    let choices = levels[levels.count - 1].choices
    var fit = choices
    if isCounting {
      if !fits(choices - 1) { fit = bisect(choices - 1) { fits($0) } }
      fitting += fit
      report(choices)
    }
    let stride = levels[levels.count - 1].stride
    let depth = levels.count - 1
    if let goal, !best.admits(goal.bound(depth, spent[depth])) { return }
    while fit > 0 {
      fit -= 1
      if let goal {
        _ = best.offer(-(spent[depth] + goal.cost(depth, fit)), number: first + fit * stride)
        continue
      }
      guard best.offer(metrics[primary].value(count(primary, fit)), number: first + fit * stride) else { return }
    }
  }

  private func fits(_ choice: Int) -> Bool { metrics.indices.allSatisfy { count($0, choice) <= limits[$0] } }

  /// A metric of the point with this choice of the last hyperparameter.
  @inline(__always)
  private func count(_ metric: Int, _ choice: Int) -> Int {
    let depth = levels.count - 1
    var sum = 0
    for slot in levels[depth].starts[metric]..<levels[depth].starts[metric + 1] {
      sum += sums[starts[depth] + slot] * levels[depth].factors[levels[depth].column[slot] + choice]
    }
    return sum
  }

  private func lowest(_ depth: Int, _ metric: Int) -> Int {
    var sum = 0
    for slot in levels[depth].starts[metric]..<levels[depth].starts[metric + 1] {
      sum += sums[starts[depth] + slot] * levels[depth].low[slot]
    }
    return sum
  }

  private func highest(_ depth: Int, _ metric: Int) -> Int {
    var sum = 0
    for slot in levels[depth].starts[metric]..<levels[depth].starts[metric + 1] {
      sum += sums[starts[depth] + slot] * levels[depth].high[slot]
    }
    return sum
  }

  /// Makes a choice at a level: the sums of the next follow.
  ///
  /// - Returns: false, without them, where a rule refuses it.
  private mutating func choose(_ depth: Int, _ choice: Int) -> Bool {
    if depth < ruled, let position = levels[depth].position {
      chosen[position] = choice
      if refuses(depth + 1) { return false }
    }
    if let goal { spent[depth + 1] = spent[depth] + goal.cost(depth, choice) }
    let next = starts[depth + 1]
    for slot in next..<starts[depth + 2] { sums[slot] = 0 }
    for slot in 0..<levels[depth].next.count {
      sums[next + levels[depth].next[slot]] +=
        sums[starts[depth] + slot] * levels[depth].factors[levels[depth].column[slot] + choice]
    }
    return true
  }

  private func refuses(_ depth: Int) -> Bool { rules[depth].contains { $0.refuses(chosen) } }

  private mutating func report(_ points: Int) {
    done += points
    unreported += 1
    guard unreported == 1 << 12 else { return }
    unreported = 0
    progress(done)
  }

  // MARK: The smallest

  /// The least of a constrained or primary metric that any point has which no rule refuses; nil where all are refused.
  mutating func least(_ metric: Metric) -> Int? {
    guard let index = metrics.firstIndex(of: metric) else { return nil }
    var least: Int?
    if !refuses(0) { findLeast(0, index, &least) }
    return least
  }

  private mutating func findLeast(_ depth: Int, _ metric: Int, _ least: inout Int?) {
    let lowest = lowest(depth, metric)
    if lowest >= least ?? .max { return }
    // All rules have been asked, so the point with the lowest choices of the rest is one of the space.
    if depth == ruled {
      least = lowest
      return
    }
    for choice in 0..<levels[depth].choices where choose(depth, choice) { findLeast(depth + 1, metric, &least) }
  }

  /// Whether any point fits; nil when that would take too long to find out.
  mutating func reaches() -> Bool? {
    var steps = 1 << 20
    return refuses(0) ? false : reaches(0, &steps)
  }

  private mutating func reaches(_ depth: Int, _ steps: inout Int) -> Bool? {
    steps -= 1
    if steps < 0 { return nil }
    if metrics.indices.contains(where: { lowest(depth, $0) > limits[$0] }) { return false }
    if depth == ruled { return true }
    for choice in 0..<levels[depth].choices where choose(depth, choice) {
      let reaches = reaches(depth + 1, &steps)
      if reaches != false { return reaches }
    }
    return false
  }
}

/// The first of `0..<end` for which `holds` is false, where it is true up to some number and false from there on; `end`
/// when it never is.
private func bisect(_ end: Int, _ holds: (Int) -> Bool) -> Int {
  var (low, high) = (0, max(end, 0))
  while low < high {
    let middle = low + (high - low) / 2
    if holds(middle) { low = middle + 1 } else { high = middle }
  }
  return low
}
