// Shapes: H hidden.

/// An orthogonal basis for the residual stream in the place of its channels, and what pruning in it needs besides: with
/// norms' weights folded into what reads them, a model computes the same in any such basis (Ashkboos et al. 2024,
/// arXiv 2401.15024). Where `hidden_size` is cut the first directions are kept: those that hold most of the stream.
///
/// `RotatedWeights` makes a model's weights in it.
public struct Rotation: Sendable, Equatable {
  /// `[H, H]` row after row: a direction in each column, the ones with the largest share first.
  public let directions: [Float]
  /// The part of the stream's energy that each direction has, of one.
  public let shares: [Float]
  /// For each norm over the stream (the layers' in order, then the final one) and each number of directions that is kept,
  /// from 1 to H: what takes the place of the norm's weight. A shorter vector is divided by a root mean square of its own,
  /// which differs from the whole one's by this factor: the mean over tokens of rms over the kept / rms over all.
  public let constants: [[Float]]
  /// Where the head is the embedding: for each direction the factor on the final norm's constant with which the
  /// embedding comes closest to a head that has the final norm's weight in it.
  public let headFactors: [Float]?

  public init(directions: [Float], shares: [Float], constants: [[Float]], headFactors: [Float]?) {
    self.directions = directions
    self.shares = shares
    self.constants = constants
    self.headFactors = headFactors
  }

  public var hidden: Int { shares.count }

  /// What takes the place of a norm's weight: a number for each kept direction, or one for all.
  ///
  /// - Parameters:
  ///   - norm: its number: the layers' in order, then the final one.
  ///   - count: directions that are kept.
  func weight(ofNorm norm: Int, keeping count: Int) -> [Float] {
    let constant = constants[norm][count - 1]
    guard norm == constants.count - 1, let headFactors else { return Array(repeating: constant, count: count) }
    return headFactors.prefix(count).map { $0 * constant }
  }

  /// Checks that it is one of a model of this description.
  ///
  /// - Parameters:
  ///   - model: that it should be of.
  ///   - what: where it comes from, for messages.
  /// - Throws: `ModelError` when something is missing, too much or not finite.
  public func check(for model: ModelDescription, what: String) throws {
    let hidden = model.sizes[.hidden]
    let norms = model.layers.reduce(1) { $0 + $1.sublayers.count }
    guard directions.count == hidden * hidden, shares.count == hidden, constants.count == norms,
      constants.allSatisfy({ $0.count == hidden }), model.isTied == (headFactors != nil),
      headFactors.map({ $0.count == hidden }) ?? true
    else { throw ModelError("\(what): the rotated basis is not one of this model's \(hidden) channels") }
    let numbers = [directions, shares, headFactors ?? []] + constants
    guard numbers.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
      throw ModelError("\(what): a number of the rotated basis is not finite")
    }
  }
}

extension Selection {
  /// How many directions of a rotated basis are kept; nil where all channels are, which no basis changes.
  ///
  /// - Throws: `ModelError` where others than the first are kept.
  public func keptDirections() throws -> Int? {
    guard let kept = kept(.hidden, layer: nil) else { return nil }
    guard !kept.isEmpty, kept == Array(0..<kept.count) else {
      throw ModelError(
        "of a rotated basis the first directions are kept, found \(kept.prefix(3).map { $0 }) and others")
    }
    return kept.count
  }
}

/// What becomes of a weight in a rotated basis.
public enum RotationRole: Sendable {
  /// These axes turn; the weight of a norm that what is read comes through goes into the axis first.
  case turned([(axis: Int, norm: Norm?)])
  /// The weight of this norm over the stream, by its number: a constant takes its place.
  case constant(number: Int, Norm)
}

extension ModelDescription {
  /// What becomes of a weight of a layer (0-based; nil outside the layers); nil where nothing does.
  public func rotationRole(of weight: Weight, layer: Int?) -> RotationRole? {
    guard let layer else {
      if weight == embedding { return .turned([(1, nil)]) }
      if weight == finalNorm.weight {
        return .constant(number: layers.reduce(0) { $0 + $1.sublayers.count }, finalNorm)
      }
      if weight == head { return .turned([(1, finalNorm)]) }
      return Self.axes(of: weight, norm: nil)
    }
    let first = layers[..<layer].reduce(0) { $0 + $1.sublayers.count }
    for (number, sublayer) in layers[layer].sublayers.enumerated() {
      guard let norm = sublayer.norm else { continue }
      if norm.weight == weight { return .constant(number: first + number, norm) }
      if sublayer.block.weights.contains(weight) { return Self.axes(of: weight, norm: norm) }
    }
    return nil
  }

  private static func axes(of weight: Weight, norm: Norm?) -> RotationRole? {
    let axes = [weight.readsAxis.map { ($0, norm) }, weight.writesAxis.map { ($0, nil) }].compactMap { $0 }
    return axes.isEmpty ? nil : .turned(axes.map { (axis: $0.0, norm: $0.1) })
  }

  /// The norm that reads the stream before a branch of a layer; after the last branch of the last layer the final one.
  ///
  /// - Parameter sublayer: the branch's number; the number of branches after the last.
  package func norm(readingStream sublayer: Int, ofLayer layer: Int) -> Norm? {
    let branches = layers[layer].sublayers
    if branches.indices.contains(sublayer) { return branches[sublayer].norm }
    return layer == layers.count - 1 ? finalNorm : nil
  }

  /// Why the residual stream cannot be rotated; nil where it can be.
  ///
  /// Everything that touches the stream has to commute with a rotation: an RMS norm does once its weight is in what reads
  /// it, projections and fixed factors do, and nothing else.
  public var rotationObstacle: String? {
    func about(_ norm: Norm, _ place: String) -> String? {
      switch norm.kind {
      case .layer, .layerPlusOne: "\(place) is a LayerNorm, which takes the mean over channels away"
      case .bare: "\(place) has no weight, which a constant would have to stand in"
      case .rms, .rmsWide, .rmsPlusOne: norm.bias == nil ? nil : "\(place) has a bias for each channel"
      }
    }
    for sublayer in layers.flatMap(\.sublayers) {
      if sublayer.postNorm != nil { return "norms stand after its blocks, with a weight for each channel they add" }
      guard let norm = sublayer.norm else { return "a block reads the residual stream without a norm before it" }
      if let obstacle = about(norm, "the norm before a block") { return obstacle }
    }
    if let obstacle = about(finalNorm, "the final norm") { return obstacle }
    if keepsPrediction { return "its multi-token-prediction modules are kept, whose norms nothing is measured of" }
    if fixed.contains(.hiddenSize) { return "its hidden_size cannot be cut" }
    if positions != nil { return "learned positions are added to its embeddings" }
    if embeddingNorm != nil { return "a norm stands over its embeddings" }
    var halved = sizes
    halved[.hidden] = max(sizes[.hidden] / 2, 1)
    if let scale = scales.embedding, scale(halved) != scale(sizes) {
      return "the factor on its embeddings is a function of hidden_size"
    }
    for (layer, description) in layers.enumerated() {
      if let weight = description.weights.first(where: { isUntold($0, layer: layer) }) { return Self.untold(weight) }
    }
    return others.first { isUntold($0, layer: nil) || $0.readsAxis != nil }.map(Self.untold)
  }

  private static func untold(_ weight: Weight) -> String {
    "\(weight.name) has an axis of hidden_size, and its description does not say how it meets the residual stream"
  }

  /// Whether an axis of a weight has to do with hidden_size without being one that is known to turn.
  private func isUntold(_ weight: Weight, layer: Int?) -> Bool {
    let turned: Set<Int>
    switch rotationRole(of: weight, layer: layer) {
    case .constant: turned = [0]
    case .turned(let axes): turned = Set(axes.map(\.axis))
    case nil: turned = []
    }
    return weight.axes.enumerated().contains { number, axis in
      axis.dimensions.contains(.hidden) && (axis != .hidden || !turned.contains(number))
    }
  }
}
