import Models

/// A rule about shapes with its answers for the choices of a search space.
struct AskedRule {
  /// Positions in the space of the hyperparameters that it looks at.
  let positions: [Int]
  /// Combinations of their choices.
  let combinations: Double

  private let rule: ShapeRule
  private let model: ModelDescription
  private let space: SearchSpace
  private let ranking: [Int]
  private let strides: [Int]
  /// Whether each combination is refused; empty where there are too many to hold.
  private let answers: [Bool]

  private static let most = 1 << 22

  /// - Parameter ranking: layer numbers (0-based), best first.
  init(_ rule: ShapeRule, _ space: SearchSpace, _ model: ModelDescription, _ ranking: [Int]) {
    self.rule = rule
    self.model = model
    self.space = space
    self.ranking = ranking
    let positions = space.choices.indices.filter { rule.hyperparameters.contains(space.choices[$0].hyperparameter) }
    self.positions = positions
    let counts = positions.map { space.choices[$0].values.count }
    combinations = counts.reduce(1) { $0 * Double($1) }
    guard combinations <= Double(Self.most) else {
      (strides, answers) = ([], [])
      return
    }
    var strides = counts.map { _ in 1 }
    for index in strides.indices.dropLast().reversed() { strides[index] = strides[index + 1] * counts[index + 1] }
    self.strides = strides
    answers = (0..<Int(combinations)).map { number in
      let choices = positions.indices.map { number / strides[$0] % counts[$0] }
      return Self.refuses(rule, Array(zip(positions, choices)), space, model, ranking)
    }
  }

  /// - Parameter chosen: the number of the choice made of each hyperparameter of the space; others than those at
  ///   `positions` are not looked at.
  func refuses(_ chosen: [Int]) -> Bool {
    guard answers.isEmpty else {
      var number = 0
      for index in positions.indices { number += chosen[positions[index]] * strides[index] }
      return answers[number]
    }
    return Self.refuses(rule, positions.map { ($0, chosen[$0]) }, space, model, ranking)
  }

  private static func refuses(
    _ rule: ShapeRule, _ choices: [(position: Int, choice: Int)], _ space: SearchSpace, _ model: ModelDescription,
    _ ranking: [Int]
  ) -> Bool {
    let config = ExportConfig(
      choices.map { (space.choices[$0.position].hyperparameter, space.choices[$0.position].values[$0.choice]) })
    return rule.refusal(of: config.architecture(of: model, ranking: ranking)) != nil
  }
}
