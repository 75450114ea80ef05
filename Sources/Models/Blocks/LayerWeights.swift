public import Torch

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
  public static let worthwhile = 2048

  /// The same weights, projections in the order in which products are quickest where enough tokens meet them, those of
  /// one input joined into one.
  ///
  /// - Parameters:
  ///   - rows: tokens that go through together.
  ///   - tokens: in all.
  ///   - inputs: the type computed with; nil for the weights' own.
  ///   - blocks: of the layer.
  ///   - done: other weights with what this made of them, which serves for all projections that are the same tensors.
  ///   - packed: told when a weight has been copied, and its old memory is needed no longer.
  public func packed(
    rows: Int, tokens: Int, inputs: DType? = nil, blocks: [any Block],
    after done: (plain: LayerWeights, packed: LayerWeights)? = nil, packed: (Weight) -> Void = { _ in }
  ) throws -> LayerWeights {
    guard tokens >= Self.worthwhile else { return self }
    var result = self
    var finished: Set<Weight> = []
    func isSame(_ weight: Weight) -> Bool { done?.plain.tensors[weight].map { $0 === tensors[weight] } ?? false }
    for block in blocks { try result.packExperts(of: block, rows: rows, tokens: tokens, inputs: inputs, packed) }
    for group in blocks.flatMap(\.jointProjections) where group.allSatisfy({ $0.bias == nil }) {
      let parts = group.map(\.weight)
      if let first = parts.first, let copy = done?.packed.joined[first], parts.allSatisfy(isSame) {
        result.joined[first] = copy
        finished.formUnion(parts)
        continue
      }
      let whole = try Tensor.cat(parts.map { try self[$0] }, dim: 0)
      let copy = try whole.packedForLinear(rows: rows, inputs: inputs)
      // Where there is no quicker order, joining would only cost memory.
      guard copy !== whole, let first = parts.first else { break }
      result.joined[first] = copy
      finished.formUnion(parts)
      parts.forEach(packed)
    }
    for (weight, tensor) in tensors where weight.isProjection && !finished.contains(weight) {
      if isSame(weight), let copy = done?.packed.tensors[weight], copy.isPacked {
        result.tensors[weight] = copy
        continue
      }
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
  public func project(_ x: Tensor, _ projections: [Linear], context: ForwardContext) throws -> [Tensor] {
    guard let first = projections.first, let joint = joined[first.weight] else {
      return try projections.map { try $0.forward(x, weights: self, context: context) }
    }
    for projection in projections { try context.observe(projection.weight, bias: projection.bias, x) }
    return try x.linear(weight: joint).split(projections.map { try self[$0.weight].shape[0] }, dim: -1)
  }

  /// The same weights with others in the place of those that are stored as one tensor.
  public func mapping(_ change: (Weight, Tensor) throws -> Tensor) rethrows -> LayerWeights {
    var result = self
    for (weight, tensor) in tensors { result.tensors[weight] = try change(weight, tensor) }
    return result
  }

  public var all: [Weight: Tensor] { tensors }
  public var allExperts: [Weight: [Tensor]] { expertTensors }
}
