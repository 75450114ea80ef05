public import Torch

// Shapes: B rows, S tokens, N heads, D head_dim.

/// Cosines and sines of a batch's positions, made when first asked for and shared by all layers.
///
/// Scalings that depend on the length of a sequence (dynamic, LongRoPE) take the length of each sequence by itself:
/// padding and neighbours have no bearing on it.
public final class Positions {
  /// The first token's position; `count` tokens follow one another.
  public let start: Int
  public let count: Int
  /// The positions themselves where they do not follow one another (packed rows).
  private let places: [Int]?
  /// The number of tokens in each row's sequence, or with `places` in each token's; empty: all rows end with their tokens.
  private let lengths: [Int]
  private let dtype: DType
  private let device: Device
  private let tables: Tables

  private typealias Table = (cosine: Tensor, sine: Tensor)

  /// Tables are the same for all batches of one width.
  private final class Tables {
    struct Key: Hashable {
      let rotary: Rotary
      let length: Int
    }
    var made: [Key: Table] = [:]
  }

  private init(
    start: Int, count: Int, places: [Int]?, lengths: [Int], dtype: DType, device: Device, tables: Tables
  ) {
    self.start = start
    self.count = count
    self.places = places
    self.lengths = lengths
    self.dtype = dtype
    self.device = device
    self.tables = tables
  }

  /// - Parameters:
  ///   - dtype: the type activations are computed in.
  ///   - start: the first position.
  ///   - device: where tensors are.
  ///   - count: how many.
  public convenience init(start: Int = 0, count: Int, dtype: DType, device: Device = .cpu) {
    self.init(start: start, count: count, places: nil, lengths: [], dtype: dtype, device: device, tables: Tables())
  }

  /// Any positions: of a packed row.
  ///
  /// - Parameters:
  ///   - lengths: the number of tokens in the sequence that each token belongs to, as many as `places`.
  ///   - device: where tensors are.
  ///   - places: the positions.
  ///   - dtype: the type computed with.
  public convenience init(places: [Int], lengths: [Int], dtype: DType, device: Device = .cpu) {
    self.init(
      start: 0, count: places.count, places: places, lengths: lengths, dtype: dtype, device: device, tables: Tables())
  }

  /// The same positions for rows of `lengths` tokens, padded on the right to `count`.
  public func rows(lengths: [Int]) -> Positions {
    Positions(
      start: start, count: count, places: places, lengths: lengths, dtype: dtype, device: device, tables: tables)
  }

  /// The token's positions, where rows are alike in them.
  var numbers: [Int] { places ?? Array(start..<start + count) }

  /// Multiplies queries `[B, S, N, D]` by what grows with their position; nothing is done before the first step.
  func scale(_ queries: Tensor, _ growth: PositionGrowth) throws -> Tensor {
    let factors = numbers.map(growth.factor)
    guard factors.contains(where: { $0 != 1 }) else { return queries }
    return try queries.multiplied(by: Tensor(factors, shape: [count, 1, 1]).to(dtype).to(device: device))
  }

  /// - Parameter length: of the sequence; ignored where each token has its own.
  private func table(_ rotary: Rotary, length: Int) throws -> Table {
    let key = Tables.Key(rotary: rotary, length: places == nil ? rotary.governingLength(length) : 0)
    if let table = tables.made[key] { return table }
    let (inverse, scale) = try frequencies(rotary, length: key.length)
    let positions = try Tensor(numbers.map(Float.init), shape: [count, 1])
    let angles = try positions.multiplied(by: inverse)  // [S, D / 2]
    let both = try Tensor.cat([angles, angles], dim: 1)
    let direction: Float = rotary.pairs == .halvesBackwards ? -1 : 1
    let table = (
      cosine: try both.cos().multiplied(by: scale).to(dtype).to(device: device),
      sine: try both.sin().multiplied(by: scale).multiplied(by: Double(direction)).to(dtype).to(device: device)
    )
    tables.made[key] = table
    return table
  }

  /// Inverse frequencies `[1, D / 2]` and the factor on cosines and sines `[1, 1]`, or `[S, …]` where tokens of one packed row
  /// turn by different ones.
  private func frequencies(_ rotary: Rotary, length: Int) throws -> (inverse: Tensor, scale: Tensor) {
    let governing = places == nil ? [length] : lengths.map(rotary.governingLength)
    let distinct = Set(governing)
    let (first, scale) = rotary.frequencies(length: governing.first ?? 0)
    guard distinct.count > 1 else {
      return (try Tensor(first, shape: [1, first.count]), try Tensor([scale], shape: [1, 1]))
    }
    let byLength = Dictionary(uniqueKeysWithValues: distinct.map { ($0, rotary.frequencies(length: $0)) })
    return (
      try Tensor(governing.flatMap { byLength[$0]?.inverse ?? first }, shape: [governing.count, first.count]),
      try Tensor(governing.map { byLength[$0]?.scale ?? scale }, shape: [governing.count, 1])
    )
  }

  /// Lets `rotate` rotate `[B, S, N, D]`, in place unless gradients are recorded: all rows at once, or stretches of rows that turn by the same frequencies.
  private func eachStretch(_ x: Tensor, _ rotary: Rotary, _ rotate: (Tensor, Table) throws -> Tensor) throws -> Tensor {
    let governing = places == nil ? lengths.map(rotary.governingLength) : []
    guard Set(governing).count > 1 else {
      return try rotate(x, table(rotary, length: lengths.first ?? start + count))
    }
    guard governing.count == x.shape[0] else {
      throw ModelError("\(x.shape[0]) rows have positions for \(governing.count)")
    }
    var row = 0
    var parts: [Tensor] = []
    while row < governing.count {
      let end = governing[row...].firstIndex { $0 != governing[row] } ?? governing.count
      parts.append(
        try rotate(x.narrow(dim: 0, start: row, length: end - row), table(rotary, length: governing[row])))
      row = end
    }
    return LibTorch.isRecording ? try Tensor.cat(parts, dim: 0) : x
  }

  /// Rotates the first `rotary.dimension` channels of `[B, S, N, D]`, in place unless gradients are recorded; channels after
  /// those (partial rotary) pass as they are.
  ///
  /// - Parameter norm: the weight `[D]` and epsilon of an RMS norm over each head before it turns.
  func rotate(_ x: Tensor, _ rotary: Rotary, norm: (weight: Tensor, eps: Double)? = nil) throws -> Tensor {
    if rotary.pairs == .neighbours {
      let x = try norm.map { try x.fusedRMSNorm(weight: $0.weight, eps: $0.eps) } ?? x
      if rotary.dimension == x.shape[3] { return try rotateNeighbours(x, rotary) }
      return try x.changing(dim: 3, start: 0, length: rotary.dimension) { try rotateNeighbours($0, rotary) }
    }
    return try eachStretch(x, rotary) { part, table in
      try part.rotated(cosine: table.cosine, sine: table.sine, width: rotary.dimension, norm: norm, into: part)
    }
  }

  /// Rotates neighbouring channels of `[B, S, N, D]` by one another, in place unless gradients are recorded, as GLM and DeepSeek lay them out; they come
  /// back as two halves, which scores do not see as long as queries and keys both do.
  func rotateNeighbours(_ x: Tensor, _ rotary: Rotary) throws -> Tensor {
    try eachStretch(x, rotary) { part, table in
      let shape = part.shape
      let halves = try part.reshape(Array(shape.dropLast()) + [shape[3] / 2, 2]).transpose(3, 4).reshape(shape)
      return try halves.rotated(cosine: table.cosine, sine: table.sine, width: rotary.dimension, into: part)
    }
  }
}

extension Tensor {
  /// With a stretch of one dimension changed, which `change` does in place unless gradients are recorded.
  func changing(dim: Int, start: Int, length: Int, _ change: (Tensor) throws -> Tensor) throws -> Tensor {
    let changed = try change(narrow(dim: dim, start: start, length: length))
    guard LibTorch.isRecording else { return self }
    let end = start + length
    var parts = [changed]
    if start > 0 { parts.insert(try narrow(dim: dim, start: 0, length: start), at: 0) }
    if end < shape[dim] { parts.append(try narrow(dim: dim, start: end, length: shape[dim] - end)) }
    return try Tensor.cat(parts, dim: dim)
  }
}
