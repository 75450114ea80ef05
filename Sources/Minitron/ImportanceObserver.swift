import Messages
public import Models
public import Torch

// Shapes: B rows, S tokens, C channels, L layers, N heads, D head_dim.

/// Turns activations into importance (Muralidharan et al. 2024, arXiv 2407.14679, section 2.2; aggregation as
/// in Model-Optimizer's `mcore_minitron.py`): for each row the mean over its tokens of |x|, squared, summed over
/// rows. Everything is accumulated in float64 whatever the type computed with; padding never counts.
public final class ImportanceObserver: TapObserver {
  private struct Site: Hashable {
    let tap: Tap
    let layer: Int
  }

  private let model: ModelDescription
  /// Where the activations are.
  private var sums: [Site: Tensor] = [:]
  /// Everything but `sums`.
  private var rest = ImportanceStatistics()

  private let microBatch: Int
  private let expertChannels: ExpertChannels
  /// Of activations on an accelerator: distances by layer, and each token's share of its micro-batch.
  private var deviceScores: [Int: Tensor] = [:]
  private var tokenShares: [[Int]: Tensor] = [:]
  /// Of the residual stream, where a rotated basis is asked for.
  private var moments: StreamMoments?

  /// - Parameters:
  ///   - microBatch: rows of a micro-batch. Batches may hold several of them: they go through the model together and are
  ///     scored apart.
  ///   - expertChannels: how the channels of experts are ranked.
  ///   - basis: what `hidden_size` is cut in.
  public init(
    _ model: ModelDescription, microBatch: Int = .max, expertChannels: ExpertChannels = .shared,
    basis: ResidualBasis = .channels
  ) {
    self.model = model
    moments = basis == .rotated ? StreamMoments(hidden: model.sizes[.hidden]) : nil
    self.expertChannels = expertChannels
    self.microBatch = max(microBatch, 1)
  }

  /// What has been seen so far.
  public func statistics() throws -> ImportanceStatistics {
    var statistics = rest
    for (site, sum) in sums {
      try statistics.add(sum.doubles(), at: .init(layer: site.layer, tap: site.tap.key))
    }
    for (layer, sum) in deviceScores { try statistics.setDistance(layer: layer, sum.item()) }
    statistics.stream = try moments?.packed() ?? []
    return statistics
  }

  /// Starts from statistics that were gathered before; what this observer has seen is forgotten.
  ///
  /// - Throws: `ModelError` when it was seen of another model.
  public func restore(_ statistics: ImportanceStatistics) throws {
    sums = [:]
    deviceScores = [:]
    rest = statistics
    for (site, values) in statistics.channels {
      guard model.layers.indices.contains(site.layer),
        let tap = model.layers[site.layer].taps.first(where: { $0.key == site.tap })
      else {
        throw ModelError("the statistics are of another model: layer \(site.layer + 1) has no tap \(site.tap)")
      }
      sums[Site(tap: tap, layer: site.layer)] = try values.withUnsafeBytes {
        try Tensor(bytes: $0, shape: [values.count], dtype: .float64)
      }
    }
    rest.removeChannels()
    rest.stream = []
    try moments?.restore(statistics.stream)
  }

  public func observe(_ tap: Tap, layer: Int, _ seen: ChannelSums) throws {
    let site = Site(tap: tap, layer: layer)
    let device = seen.sums.device
    // Apple's accelerators have no float64.
    let dtype = device == .mps ? DType.float32 : .float64
    // What was restored lies in the machine's memory.
    let sum = try sums[site]?.to(dtype).to(device: device) ?? .zeros([seen.sums.shape[1]], dtype: dtype, device: device)
    sums[site] = sum
    try seen.addMeanSquares(to: sum)
  }

  public func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
    guard let moments, let norm = model.norm(readingStream: sublayer, ofLayer: layer) else { return }
    try moments.add(state, epsilon: norm.epsilon, lengths: lengths)
  }

  /// The directions of the residual stream that hold most of it.
  ///
  /// - Throws: `ModelError` when they were not asked for, or activations were not finite.
  public func principalDirections() throws -> PrincipalDirections {
    guard let moments else { throw ModelError("nothing was observed of the residual stream") }
    return try moments.principalDirections()
  }

  public func observeLayer(_ layer: Int, input: Tensor, output: Tensor, lengths: [Int]) throws {
    let similarity = try input.tokenCosines(output)  // [B, S]
    guard input.device == .cpu else { return try addOnDevice(similarity, layer: layer, lengths: lengths) }
    let values = try similarity.floats()
    let tokens = input.shape[1]
    var (distance, seen, rows) = (0.0, 0, 0)
    for (row, length) in lengths.enumerated() {
      for value in values[row * tokens..<row * tokens + length] { distance += 1 - Double(value) }
      seen += length
      rows += 1
      if rows == microBatch || row == lengths.count - 1 {
        rest.addMicroBatch(layer: layer, distance: distance / Double(seen), rows: rows)
        (distance, seen, rows) = (0, 0, 0)
      }
    }
  }

  /// The same without waiting for the device: distances are added up there and read at the end.
  private func addOnDevice(_ similarity: Tensor, layer: Int, lengths: [Int]) throws {
    let tokens = similarity.shape[1]
    let shares: Tensor
    if let made = tokenShares[lengths] {
      shares = made
    } else {
      let values = Self.tokenShares(lengths, tokens: tokens, microBatch: microBatch)
      shares = try Tensor(values, shape: [lengths.count, tokens]).to(device: similarity.device)
      tokenShares[lengths] = shares
    }
    let dtype = similarity.device == .mps ? DType.float32 : .float64
    let distance = try similarity.negated().adding(1).multiplied(by: shares).sum().to(dtype)
    for start in stride(from: 0, to: lengths.count, by: min(microBatch, lengths.count)) {
      rest.addMicroBatch(layer: layer, distance: 0, rows: min(microBatch, lengths.count - start))
    }
    if let sum = deviceScores[layer] {
      try sum.add(distance)
    } else {
      // After what was restored.
      deviceScores[layer] = try distance.adding(rest.layers[layer]?.distance ?? 0)
    }
  }

  /// One over the tokens of its micro-batch for each valid token, zero for padding: `[B, S]`, row after row.
  package static func tokenShares(_ lengths: [Int], tokens: Int, microBatch: Int) -> [Float] {
    var values = [Float](repeating: 0, count: lengths.count * tokens)
    let size = max(min(microBatch, lengths.count), 1)
    for start in stride(from: 0, to: lengths.count, by: size) {
      let rows = start..<min(start + size, lengths.count)
      let seen = rows.reduce(0) { $0 + lengths[$1] }
      for row in rows {
        for token in 0..<lengths[row] { values[row * tokens + token] = 1 / Float(max(seen, 1)) }
      }
    }
    return values
  }

  public func observeExperts(layer: Int, _ sums: ExpertSums) throws {
    try rest.add(sums, layer: layer, channels: expertChannels)
  }

  /// The scores of all rows seen.
  ///
  /// - Throws: `ModelError` naming layer and tap when activations were not finite, or when a block of the model does not
  ///   show everything that can be pruned in it.
  public func scores() throws -> ImportanceScores {
    for (layer, sum) in deviceScores { try rest.setDistance(layer: layer, sum.item()) }
    deviceScores = [:]
    var scores = ImportanceScores()
    scores.layers = model.layers.indices.map { rest.layers[$0]?.distance ?? 0 }
    let measured = model.measured
    var byLayer: [Hyperparameter: [[Float]?]] = [:]
    var everywhere: [Hyperparameter: [Float]] = [:]
    for hyperparameter in measured where hyperparameter.facts.scope == .layer {
      byLayer[hyperparameter] = Array(repeating: nil, count: model.layers.count)
    }
    // In a fixed order: sums of floats depend on it.
    let ordered = sums.sorted { ($0.key.layer, $0.key.tap.sublayer ?? -1) < ($1.key.layer, $1.key.tap.sublayer ?? -1) }
    for (site, sum) in ordered {
      let channels = try finite(sum.sqrt().floats(), layer: site.layer, site.tap.name)
      for hyperparameter in site.tap.axis.hyperparameters {
        // hidden_size is measured also where the architecture cannot change it.
        guard let dimension = hyperparameter.dimension,
          measured.contains(hyperparameter) || hyperparameter.facts.scope == .model
        else { continue }
        guard let norms = site.tap.axis.norms(channels, along: dimension, model.sizes(inLayer: site.layer)) else {
          throw ModelError(
            "layer \(site.layer + 1): the \(site.tap.name) has \(channels.count) channels, which are no product with "
              + dimension.name)
        }
        switch hyperparameter.facts.scope {
        case .layer: byLayer[hyperparameter]?[site.layer] = norms
        case .model: everywhere[hyperparameter] = everywhere[hyperparameter].map { Self.sum($0, norms) } ?? norms
        }
      }
    }
    var ownChannels: [[[Float]]?] = Array(repeating: nil, count: model.layers.count)
    let (outputs, inner) = (MixtureOfExperts.outputs, MixtureOfExperts.channels)
    let counted = outputs.axis.dimensions.last?.hyperparameter
    let channels = inner.axis.dimensions.last
    for (layer, totals) in rest.experts {
      if let counted { byLayer[counted]?[layer] = try finite(totals.means, layer: layer, outputs.name) }
      guard let channels, let hyperparameter = channels.hyperparameter else { continue }
      switch expertChannels {
      case .shared: byLayer[hyperparameter]?[layer] = try finite(totals.channels, layer: layer, inner.name)
      case .own:
        ownChannels[layer] = try totals.ownChannels(width: model.sizes(inLayer: layer)[channels]).map {
          try finite($0, layer: layer, inner.name)
        }
      }
    }
    scores.lists = byLayer.mapValues(ScopedLists.byLayer)
    for (hyperparameter, list) in everywhere { scores.lists[hyperparameter] = .everywhere(list) }
    if expertChannels == .own, let hyperparameter = channels?.hyperparameter, byLayer[hyperparameter] != nil {
      scores.lists[hyperparameter] = .byExpert(ownChannels)
    }
    try checkTaps()
    try scores.check(for: model, what: "the activations")
    return scores
  }

  /// Every input of a block has been seen, and every layer as a whole.
  private func checkTaps() throws {
    for (layer, description) in model.layers.enumerated() {
      let isSeen = description.sublayers.indices.allSatisfy {
        !description.sublayers[$0].isRanked || sums[Site(tap: .residual(sublayer: $0), layer: layer)] != nil
      }
      guard isSeen, rest.layers[layer] != nil else {
        throw ModelError("layer \(layer + 1): no activations were seen, so there are no scores of it")
      }
    }
  }

  private func finite(_ values: [Float], layer: Int, _ what: String) throws -> [Float] {
    guard values.allSatisfy(\.isFinite), rest.layers[layer]?.distance.isFinite != false else {
      throw ModelError(
        message: """
          layer \(layer + 1): the \(what) holds NaN or infinite values; the weights are damaged, or the type computed \
          with is too narrow (try \(parameter: "compute_dtype") float32)
          """)
    }
    return values
  }

  private static func sum(_ a: [Float], _ b: [Float]) -> [Float] { zip(a, b).map { $0 + $1 } }
}

extension ImportanceStatistics.Experts {
  /// The mean norm of each expert's weighted output.
  fileprivate var means: [Float] { zip(norms, counts).map { Float($0 / (Double($1) + 1e-8)) } }
  fileprivate var channels: [Float] { squares.first.map { $0.map { Float($0.squareRoot()) } } ?? [] }

  /// Scores of each expert's `width` channels; zeros for an expert that no token went to.
  fileprivate func ownChannels(width: Int) -> [[Float]] {
    squares.map { $0.isEmpty ? Array(repeating: 0, count: width) : $0.map { Float($0.squareRoot()) } }
  }
}

extension LayerDescription {
  /// Everywhere that activations are looked at, the routed experts' taps too.
  fileprivate var taps: [Tap] {
    sublayers.indices.filter { sublayers[$0].isRanked }.map { Tap.residual(sublayer: $0) }
      + sublayers.flatMap(\.block.taps)
  }
}

extension Tap {
  /// A name for files, different from that of every other tap of a layer.
  fileprivate var key: String {
    sublayer.map { "\(name) \($0)" } ?? name + ", " + axis.dimensions.map(\.name).joined(separator: " × ")
  }
}
