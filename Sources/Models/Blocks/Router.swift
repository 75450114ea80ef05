import Torch

// Shapes: T tokens, H hidden, E experts, K experts per token, G groups of experts.

/// Decides which experts a token goes to and with what weight.
public struct Router: Sendable {
  /// How weights come out of the router's logits.
  public enum Scoring: Sendable {
    /// Softmax over all experts, then the best K (Shazeer et al. 2017, arXiv 1701.06538, as Mixtral and Qwen do).
    case softmax
    /// The best K logits, then softmax over those (gpt-oss).
    case softmaxOfChosen
    /// Each expert's sigmoid (DeepSeek-V3, arXiv 2412.19437).
    case sigmoid
    /// SparseMixer (Liu et al. 2024, arXiv 2409.12136; Phi-3.5-MoE) as it is outside training: the best expert, then the best of
    /// the others; the share of each is softmax over those whose logits are no further below it than this part of them.
    case sparseMixer(reach: Double)
  }

  /// Routing limited to the best few groups of experts (DeepSeek-V2, arXiv 2405.04434).
  public struct Groups: Sendable {
    /// How a group's score comes of its experts' scores.
    public enum Score: Sendable { case best, sumOfBestTwo }
    let count: Int
    let chosen: Int
    let score: Score

    /// - Parameters:
    ///   - count: groups of neighbouring experts.
    ///   - chosen: groups that a token's experts may come from.
    ///   - score: how a group of experts is scored.
    public init(count: Int, chosen: Int, score: Score) {
      self.count = count
      self.chosen = chosen
      self.score = score
    }
  }

  let weight: Weight
  let bias: Weight?
  /// Added to scores when experts are chosen, not to their weights (`e_score_correction_bias`).
  let correction: Weight?
  /// Experts per token.
  public let topK: Int
  let scoring: Scoring
  let groups: Groups?
  /// Weights of a token's experts are made to add up to one.
  let normalises: Bool
  /// What they are divided by at least when they are; nil for a hair more than they add up to.
  let leastSum: Double?
  /// That hair.
  let hair: Double
  let scale: Double
  /// A router that reads the residual stream: through a norm without a weight, times a vector and a number (Gemma 4).
  struct Reading: Sendable {
    let epsilon: Double
    /// `[H]`.
    let gain: Weight
    let factor: Double
  }
  /// nil for one that reads what the experts read.
  let reading: Reading?
  /// `[E]`: a factor on the weight of each expert; nil for none.
  let expertScale: Weight?

  /// - Parameters:
  ///   - name: of the router's projection.
  ///   - correctionName: of the bias of the choice, where there is one.
  ///   - computesInFloat32: logits are computed in float32 whatever the type of the rest.
  ///   - scale: a factor on the weights.
  ///   - topK: experts of a token.
  ///   - groups: those that are chosen among first; nil for none.
  ///   - leastSum: what they are divided by at least when they are; nil for a hair more than they add up to.
  ///   - hair: how much more.
  ///   - correctionAxes: of the bias of the choice.
  ///   - normalises: whether the chosen experts' shares add up to one.
  ///   - bias: whether there are biases.
  ///   - scoring: how experts are scored.
  ///   - streamGain: the name of the vector of one that reads the residual stream through a norm without a weight, that norm's
  ///     epsilon and a number that it is multiplied by; nil for one that reads what the experts read.
  ///   - expertScaleName: the name of the factors on the experts' weights; nil for none.
  public init(
    _ name: String, topK: Int, scoring: Scoring = .softmax, normalises: Bool = false, leastSum: Double? = nil,
    hair: Double = 1e-20, bias: Bool = false, correctionName: String? = nil, correctionAxes: [Axis] = [.experts],
    groups: Groups? = nil,
    scale: Double = 1, computesInFloat32: Bool = false,
    streamGain: (name: String, epsilon: Double, factor: Double)? = nil, expertScaleName: String? = nil
  ) {
    reading = streamGain.map { Reading(epsilon: $0.epsilon, gain: Weight($0.name, [.hidden]), factor: $0.factor) }
    expertScale = expertScaleName.map { Weight($0, [.experts]) }
    weight = Weight(name + ".weight", [.experts, .hidden], computesInFloat32: computesInFloat32, reads: 1)
    self.bias = bias ? Weight(name + ".bias", [.experts], computesInFloat32: computesInFloat32) : nil
    correction = correctionName.map { Weight($0, correctionAxes, computesInFloat32: true) }
    self.topK = topK
    self.scoring = scoring
    self.groups = groups
    self.normalises = normalises
    self.leastSum = leastSum
    self.hair = hair
    self.scale = scale
  }

  public var weights: [Weight] { [weight, bias, correction, reading?.gain, expertScale].compactMap { $0 } }

  /// `[T, H]`, of the residual stream where it reads that, → weights `[T, K]` (float32, but for gpt-oss) and experts `[T, K]`
  /// (int64).
  func route(_ tokens: Tensor, weights: LayerWeights) throws -> (weights: Tensor, experts: Tensor) {
    let matrix = try weights[weight]
    let x =
      try reading.map {
        try tokens.fusedRMSNorm(weight: nil, eps: $0.epsilon).multiplied(by: weights[$0.gain])
          .multiplied(by: $0.factor)
      } ?? tokens
    let logits = try x.to(matrix.dtype).linear(weight: matrix, bias: weights[optional: bias])
    if case .softmaxOfChosen = scoring {
      let (values, experts) = try logits.topK(topK, dim: 1)
      return (try values.softmax(dim: 1), experts)
    }
    if case .sparseMixer(let reach) = scoring { return try sparselyMixed(logits, reach: reach) }
    let scores: Tensor
    if case .sigmoid = scoring {
      scores = try logits.to(.float32).sigmoid()
    } else {
      scores = try logits.softmax(dim: 1, dtype: .float32)
    }
    var choice = scores
    if let correction { choice = try scores.adding(weights[correction]) }
    if let groups { choice = try groups.limit(choice) }
    let experts = try choice.topK(topK, dim: 1).indices
    var chosen = try scores.gather(dim: 1, index: experts)
    if normalises {
      let sum = try chosen.sum(dims: [1], keepDim: true)
      chosen = try chosen.divided(by: leastSum.map { try sum.clamp(min: $0) } ?? sum.adding(hair))
    }
    if scale != 1 { chosen = try chosen.multiplied(by: scale) }
    if let expertScale {
      let factors = try weights[expertScale].to(.float32)
      chosen = try chosen.multiplied(by: factors.indexSelect(dim: 0, experts.reshape([-1])).view(chosen.shape))
    }
    return (chosen, experts)
  }

  /// One expert after another, each with its share among those close to it.
  private func sparselyMixed(_ logits: Tensor, reach: Double) throws -> (weights: Tensor, experts: Tensor) {
    let size = try logits.abs()
    var open = logits
    var (shares, chosen): ([Tensor], [Tensor]) = ([], [])
    for _ in 0..<topK {
      let (most, expert) = try open.topK(1, dim: 1)
      let isFar = try most.subtracting(logits).divided(by: size.maximum(most)).gt(reach)
      shares.append(try open.maskedFill(isFar, -.infinity).softmax(dim: 1).gather(dim: 1, index: expert))
      chosen.append(expert)
      let gone = try Tensor.full(expert.shape, -.infinity, dtype: logits.dtype, device: logits.device)
      open = try open.scatter(dim: 1, index: expert, source: gone)
    }
    return (try Tensor.cat(shares, dim: 1).to(.float32), try Tensor.cat(chosen, dim: 1))
  }
}

extension Router.Groups {
  /// Why this many experts cannot be routed so, in the words of configs; nil when they can.
  func refusal(experts: Int, topK: Int) -> String? {
    guard experts % count == 0 else {
      return "n_routed_experts has to be a multiple of n_group, which is \(count)"
    }
    guard chosen <= count else { return "topk_group (\(chosen)) is above n_group (\(count))" }
    let least = score == .sumOfBestTwo ? 2 : 1
    guard experts / count >= least else { return "each of n_group = \(count) groups needs at least \(least) experts" }
    guard experts / count * chosen >= topK else {
      return "topk_group = \(chosen) groups have to hold at least num_experts_per_tok = \(topK) experts"
    }
    return nil
  }

  /// Scores with everything outside the best groups out of reach: `[T, E]` → `[T, E]`.
  func limit(_ scores: Tensor) throws -> Tensor {
    let (tokens, experts) = (scores.shape[0], scores.shape[1])
    guard count > 1, chosen < count else { return scores }
    guard experts % count == 0, experts / count >= 2 || score == .best else {
      throw ModelError("\(experts) experts cannot be routed in \(count) groups")
    }
    let grouped = try scores.reshape([tokens, count, experts / count])
    let groupScores =
      switch score {
      case .best: try grouped.amax(dims: [2])
      case .sumOfBestTwo: try grouped.topK(2, dim: 2).values.sum(dims: [2])
      }
    let best = try groupScores.topK(chosen, dim: 1).indices
    let open = try Tensor.zeros([tokens, count], dtype: .float32, device: scores.device)
      .scatter(dim: 1, index: best, source: .ones([tokens, chosen], dtype: .float32, device: scores.device))
    let shut = try open.eq(0).unsqueeze(2).expand([tokens, count, experts / count]).reshape([tokens, experts])
    return try scores.maskedFill(shut, -.infinity)
  }
}
