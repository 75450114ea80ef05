import Messages
public import Ranks

extension CrewLayout {
  /// Divides layers so that the most expensive stage costs as little as can be.
  ///
  /// - Parameters:
  ///   - costs: of each layer, such as its parameters.
  ///   - ranks: processes in all: a multiple of `stages`.
  ///   - stages: of the pipeline.
  ///   - first: layers of the first stage; nil to choose.
  ///   - last: layers of the last stage; nil to choose.
  /// - Throws: `RequestError` for numbers that cannot be, with those that can.
  public init(costs: [Int], ranks: Int, stages: Int, first: Int? = nil, last: Int? = nil) throws {
    guard (1...Self.mostRanks).contains(ranks) else {
      throw RequestError("\(ranks) processes cannot do a run together: it can be 1 to \(Self.mostRanks)")
    }
    guard stages > 0, ranks % stages == 0 else {
      throw RequestError(
        """
        \(ranks) processes cannot be divided into pipelines of \(stages) stages: \(parameter: "pp_size") has to divide \
        their number (\((1...ranks).filter { ranks % $0 == 0 }.map(String.init).joined(separator: ", ")))
        """)
    }
    guard stages <= costs.count else {
      throw RequestError(
        "\(parameter: "pp_size") \(stages): the model has \(costs.count) layers, and each stage wants one at least")
    }
    let (front, back) = (stages > 1 ? first ?? 0 : 0, stages > 1 ? last ?? 0 : 0)
    let inner = stages - (front > 0 ? 1 : 0) - (back > 0 ? 1 : 0)
    guard max(front, back) <= costs.count else {
      let field = front > costs.count ? "num_layers_in_first_pipeline_stage" : "num_layers_in_last_pipeline_stage"
      throw RequestError("\(parameter: field) \(max(front, back)): the model has \(costs.count) layers")
    }
    let left = costs.count - front - back
    guard left >= inner, inner > 0 || left == 0 else {
      throw RequestError(
        """
        \(parameter: "num_layers_in_first_pipeline_stage") \(front) and \(parameter: "num_layers_in_last_pipeline_stage") \
        \(back) leave \(left) of \(costs.count) layers to \(inner) stages, each of which wants one at least\
        \(inner == 0 ? ": with two stages they have to add up to \(costs.count)" : "")
        """)
    }
    var ends = front > 0 ? [front] : []
    ends += Self.ends(Array(costs[front..<front + left]), parts: inner).map { front + $0 }
    if back > 0 { ends.append(costs.count) }
    self.init(stages: zip([0] + ends, ends).map { $0..<$1 }, replicas: ranks / stages)
  }

  /// Processes that a run is divided among at most.
  private static let mostRanks = 1 << 16

  /// Where each of so many parts ends, so that the most expensive part costs as little as can be; of layers that cost the same,
  /// as evenly as can be.
  private static func ends(_ costs: [Int], parts: Int) -> [Int] {
    guard parts > 0 else { return [] }
    guard Set(costs).count > 1 else {
      let (share, rest) = costs.count.quotientAndRemainder(dividingBy: parts)
      return (1...parts).map { share * $0 + min($0, rest) }
    }
    // best[n]: the least cost of the most expensive part with the first n layers in so many parts, and where the last begins.
    var sums = [0]
    for cost in costs { sums.append(sums[sums.count - 1] + cost) }
    var best = sums.map { (cost: $0, starts: [Int]()) }
    for part in stride(from: 2, through: parts, by: 1) {
      var next = best
      for count in stride(from: part, through: costs.count, by: 1) {
        let choices = (part - 1..<count).map { start in
          (cost: max(best[start].cost, sums[count] - sums[start]), start: start)
        }
        guard let choice = choices.min(by: { $0.cost < $1.cost }) else { continue }
        next[count] = (choice.cost, best[choice.start].starts + [choice.start])
      }
      best = next
    }
    return best[costs.count].starts + [costs.count]
  }
}
