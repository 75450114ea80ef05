import Models

/// The counts of every point of a search space, as sums of products: each product has one factor for each
/// hyperparameter of the space, which depends on the choice made for it and on nothing else.
///
/// With hidden_size and ffn_hidden_size open, a gated MLP in n layers is `3 × n × hidden × ffn`, and so on. Points of the
/// space then cost a few multiplications, and sums over part of the factors give bounds for all points that share them.
struct SpaceCounts {
  /// What a factor is for one choice.
  private enum Variable: Hashable {
    /// The size itself.
    case size
    /// Experts that a token goes to, of as many as are left.
    case used(perToken: Int)
    /// Layers of one kind among those kept.
    case layers(kind: Int)
  }

  /// A product: for each hyperparameter of the space the number of a column in `columns`.
  typealias Product = [Int]

  /// By hyperparameter of the space, by column: the factor for each of the choices. Column 0 is all ones.
  private(set) var columns: [[[Int]]]
  /// By metric: products and what each is multiplied with.
  private(set) var terms: [[Product: Int]]

  private let positions: [Hyperparameter: Int]
  private var numbers: [[[Variable]: Int]]
  private let values: [[Int]]
  /// By kind of layer, by choice of num_layers: how many are kept.
  private let kept: [[Int]]

  /// - Parameters:
  ///   - ranking: layer numbers (0-based), best first.
  ///   - rows, tokens: what caches hold.
  init(_ model: ModelDescription, space: SearchSpace, ranking: [Int], rows: Int, tokens: Int) {
    let positions = Dictionary(space.choices.enumerated().map { ($1.hyperparameter, $0) }) { first, _ in first }
    let values = space.choices.map(\.values)
    self.positions = positions
    self.values = values
    columns = values.map { [Array(repeating: 1, count: $0.count)] }
    numbers = values.map { _ in [[]: 0] }
    terms = Metric.allCases.map { _ in [:] }
    let (kinds, kindOfLayer) = model.kindsOfLayers(rows: rows, tokens: tokens)
    let depths = positions[.numLayers].map { values[$0] } ?? [ranking.count]
    kept = kinds.indices.map { kind in
      var (count, taken) = (0, 0)
      return depths.map { depth in
        while taken < min(depth, ranking.count) {
          if kindOfLayer[ranking[taken]] == kind { count += 1 }
          taken += 1
        }
        return count
      }
    }
    for weight in model.outerWeights {
      for metric in Metric.allCases { add(weight, to: metric, kind: nil, model.sizes) }
    }
    for metric in Metric.allCases where !metric.facts.isPerToken {
      for (weight, _) in model.predictionWeights { add(weight, to: metric, kind: nil, model.sizes) }
    }
    for (kind, number) in kinds.enumerated() {
      let (layer, sizes) = (model.layers[number], model.sizes(inLayer: number))
      // Branches side by side may read one norm.
      var seen: Set<Weight> = []
      for part in layer.sublayers {
        for weight in part.weights where seen.insert(weight).inserted {
          let perToken = part.block.expertWeights.contains(weight) ? part.block.expertsPerToken : nil
          for metric in Metric.allCases {
            add(weight, to: metric, kind: kind, sizes, perToken: metric.facts.isPerToken ? perToken : nil)
          }
        }
        for metric in Metric.allCases {
          addCache(of: part.block, to: metric, kind: kind, sizes, rows: rows, tokens: tokens)
        }
      }
    }
  }

  /// Adds one weight's elements.
  ///
  /// - Parameter perToken: for weights of experts, how many of them are counted; nil for all.
  private mutating func add(_ weight: Weight, to metric: Metric, kind: Int?, _ sizes: Sizes, perToken: Int? = nil) {
    let products = weight.axes.reduce([[]] as [[Dimension]]) { products, axis in
      products.flatMap { product in axis.segments.map { product + $0 } }
    }
    for product in products {
      var coefficient = metric.weightUnit
      var variables: [Int: [Variable]] = [:]
      for member in product {
        // What has another's size, or a multiple of it, counts as that.
        let dimension = member.leader ?? member
        coefficient *= member.multiple(sizes)
        let limit = dimension == .experts ? perToken : nil
        if let position = dimension.hyperparameter.flatMap({ positions[$0] }) {
          variables[position, default: []].append(limit.map { .used(perToken: $0) } ?? .size)
        } else {
          coefficient *= min(sizes[dimension], limit ?? .max)
        }
      }
      add(coefficient, variables, to: metric, kind: kind)
    }
  }

  /// Adds a block's cache, which is linear in each size: with sizes of zero and one its coefficients show.
  private mutating func addCache(
    of block: any Block, to metric: Metric, kind: Int, _ whole: Sizes, rows: Int, tokens: Int
  ) {
    guard metric.cacheBytes(block, rows: rows, tokens: tokens, sizes: whole) != 0 else { return }
    let carried = block.weights.flatMap(\.axes).flatMap(\.dimensions).compactMap { ($0.leader ?? $0).hyperparameter }
      .filter { positions[$0] != nil }
    let open = Array(Set(carried))
    let subsets = 0..<(1 << open.count)
    let values = subsets.map { subset in
      var sizes = whole
      for (bit, hyperparameter) in open.enumerated() {
        if let dimension = hyperparameter.dimension { sizes[dimension] = subset >> bit & 1 }
      }
      return metric.cacheBytes(block, rows: rows, tokens: tokens, sizes: sizes)
    }
    for subset in subsets {
      let coefficient = subsets.reduce(0) { sum, part in
        guard part & subset == part else { return sum }
        return sum + ((subset ^ part).nonzeroBitCount % 2 == 0 ? values[part] : -values[part])
      }
      var variables: [Int: [Variable]] = [:]
      for (bit, hyperparameter) in open.enumerated() where subset >> bit & 1 == 1 {
        if let position = positions[hyperparameter] { variables[position] = [.size] }
      }
      add(coefficient, variables, to: metric, kind: kind)
    }
  }

  private mutating func add(_ coefficient: Int, _ variables: [Int: [Variable]], to metric: Metric, kind: Int?) {
    var (coefficient, variables) = (coefficient, variables)
    if let kind {
      if let position = positions[.numLayers] {
        variables[position, default: []].append(.layers(kind: kind))
      } else {
        coefficient *= kept[kind].last ?? 0
      }
    }
    guard coefficient != 0 else { return }
    let product = columns.indices.map { column(of: variables[$0] ?? [], position: $0) }
    terms[metric.rawValue][product, default: 0] += coefficient
  }

  private mutating func column(of variables: [Variable], position: Int) -> Int {
    // Kinds of layers with as many in them at each depth share a column, and so their products.
    if let number = numbers[position][variables] { return number }
    let column = values[position].indices.map { choice in
      variables.reduce(1) { product, variable in
        switch variable {
        case .size: product * values[position][choice]
        case .used(let perToken): product * min(perToken, values[position][choice])
        case .layers(let kind): product * kept[kind][choice]
        }
      }
    }
    let number = columns[position].firstIndex(of: column) ?? columns[position].count
    if number == columns[position].count { columns[position].append(column) }
    numbers[position][variables] = number
    return number
  }
}
