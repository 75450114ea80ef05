public import Models
public import Torch

// Shapes: B rows, S tokens, C channels, L layers, N heads, D head_dim.

/// Turns activations into importance (Muralidharan et al. 2024, arXiv 2407.14679, section 2.2; aggregation as
/// in Model-Optimizer's `mcore_minitron.py`): for each row the mean over its tokens of |x|, squared, summed over
/// rows. Everything is accumulated in float32 whatever the type computed with; padding never counts.
public final class ImportanceObserver: TapObserver {
  private struct Site: Hashable {
    let tap: Tap
    let layer: Int
  }

  private let model: ModelDescription
  private var sums: [Site: Tensor] = [:]
  private var layerScores: [Double]
  private var experts: [Int: (norms: Tensor, counts: Tensor, channels: Tensor)] = [:]

  private let microBatch: Int
  /// Of activations on an accelerator: distances by layer, and each token's share of its micro-batch.
  private var deviceScores: [Int: Tensor] = [:]
  private var tokenShares: [[Int]: Tensor] = [:]

  /// - Parameter microBatch: rows of a micro-batch. Batches may hold several of them: they go through the model
  ///   together and are scored apart.
  public init(_ model: ModelDescription, microBatch: Int = .max) {
    self.model = model
    self.microBatch = max(microBatch, 1)
    layerScores = Array(repeating: 0, count: model.layers.count)
  }

  public func observe(_ tap: Tap, layer: Int, _ seen: ChannelSums) throws {
    let site = Site(tap: tap, layer: layer)
    let sum = try sums[site] ?? Tensor.zeros([seen.sums.shape[1]], dtype: .float32, device: seen.sums.device)
    sums[site] = sum
    try seen.addMeanSquares(to: sum)
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
        layerScores[layer] += distance / Double(seen)
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
    let distance = try similarity.negated().adding(1).multiplied(by: shares).sum()
    if let sum = deviceScores[layer] { try sum.add(distance) } else { deviceScores[layer] = distance }
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

  public func observeExperts(layer: Int, norms: Tensor, counts: Tensor, channels: Tensor, routedRows: Int) throws {
    let squares = try channels.multiplied(by: 1 / Double(max(routedRows, 1))).square()
    let counts = try counts.to(.float32)
    if let sum = experts[layer] {
      try sum.norms.add(norms)
      try sum.counts.add(counts)
      try sum.channels.add(squares)
    } else {
      experts[layer] = (try norms.clone(), try counts.clone(), squares)
    }
  }

  /// The scores of all rows seen.
  ///
  /// - Throws: `ModelError` naming layer and tap when activations were not finite.
  public func scores() throws -> ImportanceScores {
    for (layer, sum) in deviceScores { layerScores[layer] += try sum.item() }
    deviceScores = [:]
    var scores = ImportanceScores()
    scores.layers = layerScores
    var hidden = [Float](repeating: 0, count: model.sizes[.hidden])
    for hyperparameter in model.hyperparameters where ![.numLayers, .hiddenSize].contains(hyperparameter) {
      scores.perLayer[hyperparameter] = Array(repeating: [], count: model.layers.count)
    }
    // In a fixed order: sums of floats depend on it.
    let ordered = sums.sorted { ($0.key.layer, $0.key.tap.order) < ($1.key.layer, $1.key.tap.order) }
    for (site, sum) in ordered {
      let channels = try finite(sum.sqrt(), layer: site.layer, site.tap.label)
      switch site.tap {
      case .hidden: for (index, value) in channels.enumerated() { hidden[index] += value }
      case .channels(let hyperparameter): scores.perLayer[hyperparameter]?[site.layer] = channels
      case .heads:
        scores.perLayer[.numAttentionHeads]?[site.layer] = Self.norms(channels, each: model.sizes[.headDim])
      case .mamba(let headDim):
        scores.perLayer[.mambaNumHeads]?[site.layer] = Self.norms(channels, each: headDim)
        scores.perLayer[.mambaHeadDim]?[site.layer] = Self.norms(channels, across: headDim)
      }
    }
    for (layer, sum) in experts {
      let means = try sum.norms.divided(by: sum.counts.adding(1e-8))
      scores.perLayer[.numMoEExperts]?[layer] = try finite(means, layer: layer, "output of the experts")
      scores.perLayer[.moeFFNHiddenSize]?[layer] = try finite(
        sum.channels.sqrt(), layer: layer, "input of the experts' down projection")
    }
    scores.global[.hiddenSize] = hidden
    return scores
  }

  private func finite(_ values: Tensor, layer: Int, _ what: String) throws -> [Float] {
    let values = try values.floats()
    guard values.allSatisfy(\.isFinite), layerScores[layer].isFinite else {
      throw ModelError(
        "layer \(layer + 1): the \(what) holds NaN or infinite values; the weights are damaged, or the type computed "
          + "with is too narrow (try --compute_dtype float32)")
    }
    return values
  }

  /// The L2 norm over each run of `size` channels: heads × size numbers → one a head.
  private static func norms(_ channels: [Float], each size: Int) -> [Float] {
    stride(from: 0, to: channels.count, by: max(size, 1)).map { start in
      channels[start..<min(start + size, channels.count)].reduce(0) { $0 + $1 * $1 }.squareRoot()
    }
  }

  /// The L2 norm over heads of each of their `size` channels: heads × size numbers → `size`.
  private static func norms(_ channels: [Float], across size: Int) -> [Float] {
    (0..<size).map { offset in
      stride(from: offset, to: channels.count, by: max(size, 1)).reduce(0) { $0 + channels[$1] * channels[$1] }
        .squareRoot()
    }
  }
}

extension Tap {
  fileprivate var order: Int {
    switch self {
    case .heads: 0
    case .mamba: 1
    case .channels(let hyperparameter): 2 + (Hyperparameter.allCases.firstIndex(of: hyperparameter) ?? 0)
    case .hidden(let sublayer): 100 + sublayer
    }
  }

  fileprivate var label: String {
    switch self {
    case .heads: "input of the attention's output projection"
    case .mamba: "output of the Mamba input projection"
    case .channels: "input of the MLP's down projection"
    case .hidden: "input of a block"
    }
  }
}
