public import Torch

// Shapes: B rows, S tokens, H hidden.

/// The part of a layer between its norm and the residual sum: attention, an MLP, …
public protocol Block: Sendable {
  var weights: [Weight] { get }
  /// - Parameters:
  ///   - x: `[B, S, H]`, the norm's output.
  ///   - weights: this layer's weights, whole or sliced: blocks take sizes from them.
  /// - Returns: `[B, S, H]`, to be added to the residual stream.
  func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor
  /// Elements kept between tokens while generating, for `rows` sequences of `tokens`: keys and values, or a
  /// state of fixed size. Full attention is assumed, whatever the window (as the reference's memory estimate does).
  func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int
  /// Whether what it keeps grows with the tokens: the keys and values of attention.
  var cachesTokens: Bool { get }
  /// The parameters that one token uses; all of them but where routing picks experts.
  func activeElements(sizes: Sizes) -> Int
  /// What it does with the tokens of a row; rows are one sequence where a block does not say.
  var mixing: TokenMixing { get }
  /// Projections of the same input, that may be multiplied as one where they have no biases: `LayerWeights.joint`.
  var jointProjections: [[Linear]] { get }
  /// Of its weights those that only some tokens meet, and how many experts each token goes to.
  var expertWeights: [Weight] { get }
  var expertsPerToken: Int { get }
  /// One expert's part of a weight as a projection `[out, in]`, for `LayerWeights.packed`; nil where it is none.
  func expertProjection(_ weight: Weight, of part: Tensor) throws -> Tensor?
}

extension Block {
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int { 0 }
  public var cachesTokens: Bool { false }
  public func activeElements(sizes: Sizes) -> Int { weights.reduce(0) { $0 + $1.elementCount(sizes) } }
  public var mixing: TokenMixing { .rows }
  public var jointProjections: [[Linear]] { [] }
  public var expertWeights: [Weight] { [] }
  public var expertsPerToken: Int { 0 }
  public func expertProjection(_ weight: Weight, of part: Tensor) throws -> Tensor? { nil }
}

/// The tensors of one layer (or of the parts outside the layers), by weight.
public struct LayerWeights {
  private var tensors: [Weight: Tensor]
  /// Those that are stored expert by expert.
  private var expertTensors: [Weight: [Tensor]]
  /// Projections that are multiplied as one, by the first of them.
  private var joined: [Weight: Tensor] = [:]

  public init(_ tensors: [Weight: Tensor], experts: [Weight: [Tensor]] = [:]) {
    self.tensors = tensors
    expertTensors = experts
  }

  /// One expert's part of a weight, however it is stored.
  public func expert(_ index: Int, of weight: Weight) throws -> Tensor {
    guard let list = expertTensors[weight] else { return try self[weight].select(dim: 0, index: index) }
    guard list.indices.contains(index) else {
      throw ModelError("the weight \(weight.name) has \(list.count) experts; asked for number \(index)")
    }
    return list[index]
  }

  public subscript(weight: Weight) -> Tensor {
    get throws {
      guard let tensor = tensors[weight] else {
        throw ModelError("the weight \(weight.name) was not brought in for its layer")
      }
      return tensor
    }
  }

  /// nil for a weight the family does not have (a bias).
  public subscript(optional weight: Weight?) -> Tensor? {
    get throws { try weight.map { try self[$0] } }
  }

  /// Putting a weight into another order takes as long as what it saves over a thousand tokens or two.
  private static let worthwhile = 2048

  /// The same weights, projections in the order in which products are quickest where enough tokens meet them, those of
  /// one input joined into one.
  ///
  /// - Parameters:
  ///   - rows: tokens that go through together.
  ///   - tokens: in all.
  ///   - inputs: the type computed with; nil for the weights' own.
  ///   - blocks: of the layer.
  ///   - packed: told when a weight has been copied, and its old memory is needed no longer.
  public func packed(
    rows: Int, tokens: Int, inputs: DType? = nil, blocks: [any Block], packed: (Weight) -> Void = { _ in }
  ) throws -> LayerWeights {
    guard tokens >= Self.worthwhile else { return self }
    var result = self
    var done: Set<Weight> = []
    for block in blocks { try result.packExperts(of: block, rows: rows, tokens: tokens, inputs: inputs, packed) }
    for group in blocks.flatMap(\.jointProjections) where group.allSatisfy({ $0.bias == nil }) {
      let parts = group.map(\.weight)
      let whole = try Tensor.cat(parts.map { try self[$0] }, dim: 0)
      let copy = try whole.packedForLinear(rows: rows, inputs: inputs)
      // Where there is no quicker order, joining would only cost memory.
      guard copy !== whole, let first = parts.first else { break }
      result.joined[first] = copy
      done.formUnion(parts)
      parts.forEach(packed)
    }
    for (weight, tensor) in tensors where weight.isProjection && !done.contains(weight) {
      let copy = try tensor.packedForLinear(rows: rows, inputs: inputs)
      result.tensors[weight] = copy
      if copy !== tensor { packed(weight) }
    }
    return result
  }

  /// Each expert meets its share of the tokens only.
  private mutating func packExperts(
    of block: any Block, rows: Int, tokens: Int, inputs: DType?, _ packed: (Weight) -> Void
  ) throws {
    for weight in block.expertWeights {
      let count = try expertTensors[weight]?.count ?? self[weight].shape[0]
      func share(_ tokens: Int) -> Int { tokens * block.expertsPerToken / max(count, 1) }
      guard share(tokens) >= Self.worthwhile else { continue }
      var copies: [Tensor] = []
      for index in 0..<count {
        guard let matrix = try block.expertProjection(weight, of: expert(index, of: weight)) else { break }
        let copy = try matrix.packedForLinear(rows: max(share(rows), 1), inputs: inputs)
        if copy === matrix { return }
        copies.append(copy)
      }
      guard copies.count == count else { continue }
      expertTensors[weight] = copies
      packed(weight)
    }
  }

  /// `[…, in]` → what each of these projections makes of it, `[…, out]`: views of one tensor where they were joined.
  public func project(_ x: Tensor, _ projections: [Linear]) throws -> [Tensor] {
    guard let first = projections.first, let joint = joined[first.weight] else {
      return try projections.map { try $0.forward(x, weights: self) }
    }
    return try x.linear(weight: joint).split(projections.map { try self[$0.weight].shape[0] }, dim: -1)
  }

  public var all: [Weight: Tensor] { tensors }
  public var allExperts: [Weight: [Tensor]] { expertTensors }
}

/// Where activations are looked at. Scores follow in `Minitron`; a tap only says what is seen.
public enum Tap: Hashable, Sendable {
  /// The input of a mixer or an MLP (a norm's output): `[B, S, H]`. The number tells sublayers apart.
  case hidden(sublayer: Int)
  /// Channels that a hyperparameter of the layer counts (an MLP's down projection's input): `[B, S, C]`.
  case channels(Hyperparameter)
  /// The input of the attention's output projection: `[B, S, heads × head_dim]`.
  case heads
  /// The x part of a Mamba-2 input projection's output: `[B, S, heads × head_dim]`.
  case mamba(headDim: Int)
}

/// Sees activations as they pass. `lengths` are the valid tokens of each row; what lies behind is padding.
public protocol TapObserver: AnyObject {
  /// |activations| added up over each row's tokens, most of them while they were computed.
  ///
  /// - Parameters:
  ///   - layer: the original layer's 0-based number.
  ///   - sums: of one batch.
  func observe(_ tap: Tap, layer: Int, _ sums: ChannelSums) throws
  /// A whole layer's input and output, `[B, S, H]`; they must not be kept.
  func observeLayer(_ layer: Int, input: Tensor, output: Tensor, lengths: [Int]) throws
  /// One micro-batch at a layer's routed experts, padding left out.
  func observeExperts(layer: Int, _ sums: ExpertSums) throws
}

/// What the importance of experts and of their channels is made of, over one micro-batch. The same whatever the number
/// of threads: of blocks of rows that do not depend on it, added up in float64 in their order.
public struct ExpertSums: Sendable {
  /// For each expert the sum over its tokens of its weighted output's L2 norm.
  public let norms: [Double]
  /// For each expert the tokens routed to it.
  public let counts: [Int]
  /// For each expert and each channel of its down projection's input, the sum over its tokens of |input|; empty for an
  /// expert without tokens.
  public let channels: [[Double]]
}

/// What a forward pass needs besides weights and activations.
public struct ForwardContext {
  /// The original layer's 0-based number.
  public var layer: Int
  /// Valid tokens of each row (`B` numbers up to `S`); rows are padded on the right.
  public let lengths: [Int]
  public let positions: Positions
  public let observer: (any TapObserver)?
  public let cache: KeyValueCache?
  /// Where several sequences share the one row there is.
  public private(set) var packed: PackedContext?

  public init(
    layer: Int = 0, lengths: [Int], positions: Positions, observer: (any TapObserver)? = nil,
    cache: KeyValueCache? = nil, packed: PackedContext? = nil
  ) {
    self.packed = packed
    self.layer = layer
    self.lengths = lengths
    self.positions = positions
    self.observer = observer
    self.cache = cache
  }

  /// The same for a block whose result is wanted for all tokens.
  var untrimmed: ForwardContext {
    var context = self
    context.packed?.trims = false
    return context
  }

  /// Lets the observer, where there is one, see what `compute` hands to the sums.
  func observing<R>(_ tap: Tap, channels: Int, of x: Tensor, _ compute: (ChannelSums?) throws -> R) throws -> R {
    guard let observer else { return try compute(nil) }
    let sums = try ChannelSums(lengths: lengths, channels: channels, device: x.device)
    let result = try compute(sums)
    try observer.observe(tap, layer: layer, sums)
    return result
  }

  /// The same for activations that are there already, `[B, S, C]`.
  func observe(_ tap: Tap, _ x: Tensor) throws {
    guard observer != nil else { return }
    try observing(tap, channels: x.shape[2], of: x) { try $0?.add(x) }
  }
}

extension LayerDescription {
  /// One layer over `[B, S, H]`.
  ///
  /// A branch is added to the residual stream together with the norm that reads the sum, which saves a pass. Where a
  /// packed row's result is wanted for some tokens alone, the last block that looks at other tokens gives it for those,
  /// and what follows sees no others.
  public func forward(_ input: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    var h = input
    var branch: Tensor?
    let trimming = context.packed.flatMap { $0.trims ? $0 : nil }
    let trimmed = trimming == nil || isParallel ? nil : sublayers.lastIndex { $0.block.mixing.isSequences }
    for (index, sublayer) in sublayers.enumerated() {
      let tap = Tap.hidden(sublayer: index)
      let x: Tensor
      if let norm = sublayer.norm {
        x = try context.observing(tap, channels: input.shape[2], of: input) { sums in
          if isParallel { return try norm.forward(input, weights: weights, tap: sums) }
          guard let added = branch else { return try norm.forward(h, weights: weights, tap: sums) }
          let (sum, normed) = try norm.forward(
            adding: added, to: h, keepsInput: h === input, weights: weights, tap: sums)
          (h, branch) = (sum, nil)
          return normed
        }
      } else {
        if let added = branch, !isParallel { (h, branch) = (try h.residualSum(added, keepsInput: h === input), nil) }
        x = isParallel ? input : h
        try context.observe(tap, x)
      }
      if let added = branch { (h, branch) = (try h.residualSum(added, keepsInput: h === input), nil) }
      var y = try sublayer.block.forward(
        x, weights: weights, context: index == trimmed ? context : context.untrimmed)
      if index == trimmed, let trimming { h = try trimming.trim(h) }
      if let norm = sublayer.postNorm { y = try norm.forward(y, weights: weights) }
      if let scale = sublayer.residualScale { y = try y.multiplied(by: scale) }
      branch = y
    }
    if let branch { h = try h.residualSum(branch, keepsInput: h === input) }
    if let trimming, trimmed == nil { h = try trimming.trim(h) }
    try context.observer?.observeLayer(context.layer, input: input, output: h, lengths: context.lengths)
    return h
  }
}
