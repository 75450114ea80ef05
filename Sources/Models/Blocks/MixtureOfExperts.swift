public import Torch

// Shapes: B rows, S tokens, T tokens without padding, K experts per token, R tokens of one expert, H hidden,
// F expert ffn, E experts.

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
  /// Whether the router weighs what experts read, and not what they give (Llama 4).
  let weighsInput: Bool
  /// `[1, H]`: the shared expert's output is weighted by the sigmoid of this projection.
  let sharedGate: Weight?

  /// - Parameters:
  ///   - router: chooses a token's experts.
  ///   - experts: the routed ones.
  ///   - latent: projections around them, where these work in a space of their own.
  ///   - shared: an MLP that every token passes.
  ///   - sharedGateName: the name of the projection whose sigmoid weighs the shared one; nil for none.
  ///   - weighsInput: whether the router weighs what experts read, and not what they give.
  public init(
    router: Router, experts: Experts, latent: (enter: Linear, leave: Linear)? = nil, shared: (any Block)? = nil,
    sharedGateName: String? = nil, weighsInput: Bool = false
  ) {
    self.router = router
    self.weighsInput = weighsInput
    self.experts = experts
    self.latent = latent
    self.shared = shared
    sharedGate = sharedGateName.map { Weight($0 + ".weight", [.one, .hidden], reads: 1) }
  }

  public var weights: [Weight] {
    router.weights + experts.weights + (latent.map { $0.enter.weights + $0.leave.weights } ?? [])
      + (shared?.weights ?? []) + (sharedGate.map { [$0] } ?? [])
  }

  /// The experts' weighted outputs, their down projections' inputs, and the shared expert's own. What is seen of the
  /// routed experts goes to `TapObserver.observeExperts`.
  public var taps: [Tap] { [Self.outputs, Self.channels] + (shared?.taps ?? []) }
  public static let outputs = Tap(.experts, "output of the experts")
  public static let channels = Tap(.experts * .moeFFN, "input of the experts' down projection")

  public var mixing: TokenMixing { .none }
  public var expertWeights: [Weight] { experts.weights }
  public var expertsPerToken: Int { router.topK }

  public var readsStream: Bool { router.reading != nil }
  /// The router's number is one over the root of hidden_size.
  public var sizeFactors: [(weight: Weight, factor: @Sendable (Sizes) -> Double)] {
    guard let gain = router.reading?.gain else { return [] }
    return [(gain, { @Sendable sizes in 1 / Double(sizes[.hidden]).squareRoot() })]
  }

  public var expertMaps: ExpertMaps { experts.maps }

  /// What a routed expert's last projection reads: `[R, H]` → `[R, F]`, weighed by the router.
  ///
  /// - Parameters:
  ///   - rows: of what the experts read, not weighed.
  ///   - shares: `[R, 1]`, what the router weighs them with.
  ///   - expert: 0-based.
  ///   - weights: the layer's.
  public func expertInner(_ rows: Tensor, shares: Tensor, expert: Int, weights: LayerWeights) throws -> Tensor {
    let entering = try weighsInput ? rows.multiplied(by: shares.to(rows.dtype)) : rows
    let inner = try experts.inner(entering, expert: expert, weights: weights).to(.float32)
    return try weighsInput ? inner : inner.multiplied(by: shares.to(.float32))
  }

  public func expertProjection(_ weight: Weight, of part: Tensor) throws -> Tensor? {
    try experts.projection(weight, of: part)
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
    let asking = try context.stream.map { try $0.reshape([rows * width, hidden]) } ?? flat
    guard context.lengths.contains(where: { $0 < width }) else {
      return try mix(flat, asking: asking, weights: weights, context: context).reshape([rows, width, hidden])
    }
    let valid = context.lengths.enumerated().flatMap { row, length in (0..<length).map { Int64(row * width + $0) } }
    let places = try Tensor(valid, shape: [valid.count]).to(device: x.device)
    let mixed = try mix(
      flat.indexSelect(dim: 0, places), asking: asking.indexSelect(dim: 0, places), weights: weights, context: context)
    let result = try Tensor.zeros([rows * width, hidden], dtype: x.dtype, device: x.device)
    try result.indexCopy(dim: 0, index: places, source: mixed)
    return try result.reshape([rows, width, hidden])
  }

  /// `[T, H]` → `[T, H]`.
  ///
  /// - Parameter asking: what the router reads, `[T, H]`.
  private func mix(
    _ tokens: Tensor, asking: Tensor, weights: LayerWeights, context: ForwardContext
  ) throws -> Tensor {
    let (shares, chosen) = try router.route(asking, weights: weights)
    let grouping = try ExpertGrouping(chosen.int64s(), count: weights[router.weight].shape[0])
    let device = tokens.device
    func indices(_ values: [Int64]) throws -> Tensor {
      try Tensor(values, shape: [values.count]).to(device: device)
    }
    // Sorted by expert, one piece after the other: each expert's rows lie side by side.
    // What is observed is computed in the same pieces on any number of threads.
    let isCPU = device == .cpu
    let isObserved = context.observer != nil
    // Routed rows at which micro-batches end.
    let ends = isObserved ? context.microBatchEnds.map { $0 * router.topK } : []
    let isStepwise = context.packed?.isStepwise == true
    let most = isObserved ? ExpertGrouping.observedRows : isStepwise ? ExpertGrouping.steppedRows : nil
    let pieces = grouping.pieces(
      workers: isCPU ? try LibTorch.threads : 1, most: isCPU ? most : nil, ends: ends)
    let entering = try latent?.enter.forward(tokens, weights: weights, context: context) ?? tokens
    let padded = pieces.list.flatMap { grouping.padded($0.rows) }
    let sources = try indices(padded.map { Int64($0 / router.topK) })
    let sorted = try shares.reshape([-1, 1]).indexSelect(dim: 0, indices(padded.map(Int64.init)))
      .to(tokens.dtype)
    // One result for all pieces, or one each where gradients are recorded.
    let parts = LibTorch.isRecording ? TaskResults(count: pieces.list.count) : nil
    let outputs = try Tensor.empty(
      [parts == nil ? grouping.order.count : 0, entering.shape[1]], dtype: tokens.dtype, device: device)
    let statistics = try context.observer.map { _ in
      try ExpertStatistics(pieces: pieces, channels: experts.width(weights), device: device)
    }
    func compute(_ number: Int) throws {
      let (expert, rows) = pieces.list[number]
      func part(_ whole: Tensor) throws -> Tensor {
        try whole.narrow(dim: 0, start: pieces.starts[number], length: ExpertGrouping.paddedCount(rows.count))
      }
      let share = try part(sorted)
      // Gathered expert by expert, rows are still in the caches when they are multiplied.
      let own = try entering.indexSelect(dim: 0, part(sources))
      let routed = try context.linearObserver.map { _ in
        RoutedRows(
          expert: expert, tokens: grouping.order[rows].map { $0 / router.topK },
          shares: try share.narrow(dim: 0, start: 0, length: rows.count))
      }
      func show(_ input: Tensor, to maps: [Weight]) throws {
        guard let routed else { return }
        for map in maps { try context.observe(map, routed: routed, input.narrow(dim: 0, start: 0, length: rows.count)) }
      }
      try show(own, to: experts.firstWeights)
      let entered = try weighsInput ? own.multiplied(by: share) : own
      let inner = try experts.inner(entered, expert: expert, weights: weights)
      // Weighed while they are narrow, as the reference does; a bias after them is weighed all the same.
      if !weighsInput { try inner.multiply(by: share) }
      try show(inner, to: [experts.down])
      let output = try experts.output(inner, share: share, expert: expert, weights: weights)
        .narrow(dim: 0, start: 0, length: rows.count)
      if let parts {
        parts[number] = output
      } else {
        try outputs.narrow(dim: 0, start: rows.lowerBound, length: rows.count).copy(from: output)
      }
      try statistics?.add(number, inner: inner, output: output)
    }
    // Small products of many experts: each thread takes its own, and nobody waits within one.
    // Who looks at inputs is called from one thread at a time.
    if pieces.areShared, context.linearObserver == nil {
      try LibTorch.parallel(pieces.list.count, compute)
    } else {
      for number in pieces.list.indices { try compute(number) }
    }
    if let observer = context.observer, let statistics {
      try statistics.report(to: observer, layer: context.layer, pieces, grouping, ends: ends)
    }
    let result = try (parts?.joined(dim: 0) ?? outputs).indexSelect(dim: 0, indices(grouping.places))
      .view([tokens.shape[0], router.topK, entering.shape[1]]).sum(dims: [1])
    return try latent?.leave.forward(result, weights: weights, context: context) ?? result
  }
}

/// What the importance of experts and of their channels is made of, piece by piece.
private struct ExpertStatistics {
  private let norms: Tensor  // a number for each piece
  private let channels: Tensor  // [pieces, F]

  init(pieces: ExpertGrouping.Pieces, channels: Int, device: Device) throws {
    norms = try Tensor.zeros([pieces.list.count], dtype: .float32, device: device)
    self.channels = try Tensor.zeros([pieces.list.count, channels], dtype: .float32, device: device)
  }

  /// Pieces may come at the same time.
  ///
  /// - Parameters:
  ///   - inner: the down projection's input, weighed by the router, `[R, F]` and perhaps padding.
  ///   - output: `[R, H]`, weighed too.
  func add(_ piece: Int, inner: Tensor, output: Tensor) throws {
    try norms.narrow(dim: 0, start: piece, length: 1)
      .copy(from: output.norm(p: 2, dims: [1], dtype: .float32).sum(dims: [0], keepDim: true))
    let sums = try ChannelSums(lengths: [output.shape[0]], channels: inner.shape[1], device: inner.device)
    try sums.add(inner.unsqueeze(0))
    try channels.narrow(dim: 0, start: piece, length: 1).copy(from: sums.sums)
  }

  /// Adds the pieces up and shows them, micro-batch by micro-batch.
  ///
  /// - Parameter ends: routed rows before sorting at which micro-batches end.
  func report(
    to observer: any TapObserver, layer: Int, _ pieces: ExpertGrouping.Pieces, _ grouping: ExpertGrouping, ends: [Int]
  ) throws {
    let width = channels.shape[1]
    let (norms, channels) = (try norms.floats(), try channels.floats())
    let experts = grouping.counts.count
    var totals = ends.map { _ in [Double](repeating: 0, count: experts) }
    var counts = ends.map { _ in [Int](repeating: 0, count: experts) }
    var sums = ends.map { _ in [[Double]](repeating: [], count: experts) }
    for (piece, (expert, rows)) in pieces.list.enumerated() {
      guard let batch = ends.firstIndex(where: { grouping.order[rows.lowerBound] < $0 }) else { continue }
      totals[batch][expert] += Double(norms[piece])
      counts[batch][expert] += rows.count
      if sums[batch][expert].isEmpty { sums[batch][expert] = Array(repeating: 0, count: width) }
      for channel in 0..<width { sums[batch][expert][channel] += Double(channels[piece * width + channel]) }
    }
    for batch in ends.indices {
      try observer.observeExperts(
        layer: layer, ExpertSums(norms: totals[batch], counts: counts[batch], channels: sums[batch]))
    }
  }
}

extension ForwardContext {
  /// Valid tokens up to the end of each micro-batch.
  fileprivate var microBatchEnds: [Int] {
    var (row, tokens) = (0, 0)
    return microBatches.map { count in
      tokens += lengths[row..<min(row + count, lengths.count)].reduce(0, +)
      row = min(row + count, lengths.count)
      return tokens
    }
  }
}
