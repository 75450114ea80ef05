public import Torch

// Shapes: B rows, S tokens, T tokens without padding, K experts per token, H hidden, F expert ffn, E experts.

/// A mixture of experts (Shazeer et al. 2017, arXiv 1701.06538): each token through its K experts, and through
/// what all tokens share. Tokens are grouped by expert; experts without tokens cost nothing. Taps: the experts'
/// weighted outputs and inner channels, and those of the shared expert.
public struct MixtureOfExperts: Block {
  let router: Router
  let experts: Experts
  /// Projections around the routed experts, where these work in a space of their own (Nemotron 3 Super).
  let latent: (enter: Linear, leave: Linear)?
  /// An MLP that every token passes (Qwen2-MoE, DeepSeek).
  let shared: (any Block)?
  /// `[1, H]`: the shared expert's output is weighted by the sigmoid of this projection.
  let sharedGate: Weight?

  public init(
    router: Router, experts: Experts, latent: (enter: Linear, leave: Linear)? = nil, shared: (any Block)? = nil,
    sharedGateName: String? = nil
  ) {
    self.router = router
    self.experts = experts
    self.latent = latent
    self.shared = shared
    sharedGate = sharedGateName.map { Weight($0 + ".weight", [.one, .hidden]) }
  }

  public var weights: [Weight] {
    router.weights + experts.weights + (latent.map { $0.enter.weights + $0.leave.weights } ?? [])
      + (shared?.weights ?? []) + (sharedGate.map { [$0] } ?? [])
  }

  public func activeElements(sizes: Sizes) -> Int {
    var used = sizes
    used[.experts] = min(router.topK, sizes[.experts])
    func count(_ weights: [Weight], _ sizes: Sizes) -> Int { weights.reduce(0) { $0 + $1.elementCount(sizes) } }
    return count(experts.weights, used) + count(weights, sizes) - count(experts.weights, sizes)
  }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    var y = try routed(x, weights: weights, context: context)
    guard let shared else { return y }
    var common = try shared.forward(x, weights: weights, context: context)
    if let sharedGate { common = try common.multiplied(by: x.linear(weight: weights[sharedGate]).sigmoid()) }
    y = try y.adding(common)
    return y
  }

  /// What the routed experts add, `[B, S, H]` → `[B, S, H]`; zero at padding, which is not routed at all.
  private func routed(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let (rows, width, hidden) = (x.shape[0], x.shape[1], x.shape[2])
    let flat = try x.reshape([rows * width, hidden])
    guard context.lengths.contains(where: { $0 < width }) else {
      return try mix(flat, weights: weights, context: context).reshape([rows, width, hidden])
    }
    let valid = context.lengths.enumerated().flatMap { row, length in (0..<length).map { Int64(row * width + $0) } }
    let places = try Tensor(valid, shape: [valid.count]).to(device: x.device)
    let mixed = try mix(flat.indexSelect(dim: 0, places), weights: weights, context: context)
    let result = try Tensor.zeros([rows * width, hidden], dtype: x.dtype, device: x.device)
    try result.indexCopy(dim: 0, index: places, source: mixed)
    return try result.reshape([rows, width, hidden])
  }

  /// `[T, H]` → `[T, H]`.
  private func mix(_ tokens: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let (shares, chosen) = try router.route(tokens, weights: weights)
    let count = try weights[router.weight].shape[0]
    let perToken = router.topK
    let grouping = try ExpertGrouping(chosen.int64s(), count: count)
    func indices(_ values: [Int64]) throws -> Tensor {
      try Tensor(values, shape: [values.count]).to(device: tokens.device)
    }
    // Sorted by expert: each expert's rows lie side by side.
    let entering = try latent?.enter.forward(tokens, weights: weights) ?? tokens
    let gathered = try entering.indexSelect(dim: 0, indices(grouping.order.map { Int64($0 / perToken) }))
    let sortedShares = try shares.reshape([-1, 1])
      .indexSelect(dim: 0, indices(grouping.order.map(Int64.init)))  // [T × K, 1]
    var statistics = context.observer.map { _ in ExpertStatistics() }
    var outputs: [Tensor] = []
    var start = 0
    for (expert, rows) in grouping.counts.enumerated() {
      guard rows > 0 else {
        try statistics?.skip()
        continue
      }
      let inner = try experts.inner(
        gathered.narrow(dim: 0, start: start, length: rows), expert: expert, weights: weights)
      let output = try experts.output(inner, expert: expert, weights: weights)
      let share = try sortedShares.narrow(dim: 0, start: start, length: rows)
      try output.multiply(by: share)
      try statistics?.add(inner: inner, share: share, output: output)
      outputs.append(output)
      start += rows
    }
    if let observer = context.observer, let statistics {
      try statistics.report(to: observer, layer: context.layer, counts: grouping.counts)
    }
    // Back in the tokens' order, where each token's K rows are neighbours.
    let sums = try Tensor.cat(outputs, dim: 0).indexSelect(dim: 0, indices(grouping.places.map(Int64.init)))
      .reshape([-1, perToken, entering.shape[1]]).sum(dims: [1])
    return try latent?.leave.forward(sums, weights: weights) ?? sums
  }
}

/// What the importance of experts and of their channels is made of, over one micro-batch.
private struct ExpertStatistics {
  private var norms: [Tensor] = []
  private var channels: Tensor?

  /// An expert that no token went to.
  mutating func skip() throws { norms.append(try Tensor.zeros([], dtype: .float32)) }

  /// - Parameters:
  ///   - inner: `[R, F]`, the down projection's input.
  ///   - share: `[R, 1]`, the router's weights; they weigh `inner` here and did `output` already.
  mutating func add(inner: Tensor, share: Tensor, output: Tensor) throws {
    norms.append(try output.norm(p: 2, dims: [1], dtype: .float32).sum())
    let sums = try inner.multiplied(by: share).norm(p: 1, dims: [0], dtype: .float32)
    if let channels { try channels.add(sums) } else { channels = sums }
  }

  func report(to observer: any TapObserver, layer: Int, counts: [Int]) throws {
    guard let channels else { return }
    try observer.observeExperts(
      layer: layer, norms: Tensor.stack(norms.map { try $0.to(device: .cpu) }, dim: 0),
      counts: Tensor(counts.map(Float.init), shape: [counts.count]), channels: channels.to(device: .cpu),
      routedRows: counts.reduce(0, +))
  }
}
