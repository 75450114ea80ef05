public import Torch

/// Cosines, sines and masks of one range of positions, made when first asked for and shared by all layers.
public final class Positions {
  /// The first token's position; `count` tokens follow one another.
  public let start: Int
  public let count: Int
  /// The positions themselves where they do not follow one another (packed rows).
  private let places: [Int]?
  private let dtype: DType
  private let device: Device
  private var tables: [Rotary: (cosine: Tensor, sine: Tensor)] = [:]
  private var masks: [[Int]: Tensor] = [:]

  /// - Parameter dtype: the type activations are computed in.
  public init(start: Int = 0, count: Int, dtype: DType, device: Device = .cpu) {
    self.start = start
    self.count = count
    places = nil
    self.dtype = dtype
    self.device = device
  }

  /// Any positions, of sequences that are short enough for their blocks (`TokenMixing.sequences`).
  public init(places: [Int], dtype: DType, device: Device = .cpu) {
    start = 0
    count = places.count
    self.places = places
    self.dtype = dtype
    self.device = device
  }

  private func table(_ rotary: Rotary) throws -> (cosine: Tensor, sine: Tensor) {
    if let table = tables[rotary] { return table }
    let (inverse, scale) = rotary.frequencies(length: places.map { ($0.max() ?? 0) + 1 } ?? (start + count))
    let positions = try Tensor((places ?? Array(start..<(start + count))).map(Float.init), shape: [count, 1])
    let angles = try positions.multiplied(by: Tensor(inverse, shape: [1, inverse.count]))  // [S, D / 2]
    let both = try Tensor.cat([angles, angles], dim: 1)
    let table = (
      cosine: try both.cos().multiplied(by: Double(scale)).to(dtype).to(device: device),
      sine: try both.sin().multiplied(by: Double(scale)).to(dtype).to(device: device)
    )
    tables[rotary] = table
    return table
  }

  /// Rotates neighbouring channels of `[B, N, S, D]` by one another, as DeepSeek lays them out; they come back as
  /// two halves, which scores do not see as long as queries and keys both do.
  func rotateInterleaved(_ x: Tensor, _ rotary: Rotary) throws -> Tensor {
    let shape = x.shape
    let halves = try x.reshape(Array(shape.dropLast()) + [shape[3] / 2, 2]).transpose(3, 4).reshape(shape)
    return try rotate(halves, rotary)
  }

  /// Rotates `[B, N, S, D]` by the halves of its first `rotary.dimension` channels, as Llama does; channels
  /// behind those (partial rotary) pass as they are.
  func rotate(_ x: Tensor, _ rotary: Rotary) throws -> Tensor {
    let (cosine, sine) = try table(rotary)
    let width = x.shape[3]
    let turning = width == rotary.dimension ? x : try x.narrow(dim: 3, start: 0, length: rotary.dimension)
    let half = rotary.dimension / 2
    let turned = try Tensor.cat(
      [
        turning.narrow(dim: 3, start: half, length: half).negated(), turning.narrow(dim: 3, start: 0, length: half),
      ], dim: 3)
    let rotated = try turning.multiplied(by: cosine).adding(turned.multiplied(by: sine))
    if width == rotary.dimension { return rotated }
    let rest = try x.narrow(dim: 3, start: rotary.dimension, length: width - rotary.dimension)
    return try Tensor.cat([rotated, rest], dim: 3)
  }

  /// Rotates `[B, S, N, D]` as `rotate` does, in one pass and in place.
  ///
  /// - Parameter norm: the weight `[D]` and epsilon of an RMS norm over each head before it turns.
  func turn(_ x: Tensor, _ rotary: Rotary, norm: (weight: Tensor, eps: Double)? = nil) throws -> Tensor {
    let (cosine, sine) = try table(rotary)
    return try x.rotated(cosine: cosine, sine: sine, width: rotary.dimension, norm: norm, into: x)
  }

  /// What each query may see, `[S, keys]` of booleans; nil when plain causality says it all.
  ///
  /// - Parameters:
  ///   - window: positions a token sees, itself included; nil for all before it.
  ///   - sink: one more key at the end, which all queries see.
  func mask(queries: Int, keys: Int, window: Int?, sink: Bool = false) throws -> Tensor? {
    let offset = keys - queries
    let narrow = window.flatMap { $0 < keys ? $0 : nil }
    guard sink || narrow != nil || (offset > 0 && queries > 1) else { return nil }
    let id = [queries, keys, narrow ?? -1, sink ? 1 : 0]
    if let mask = masks[id] { return mask }
    var seen: [Bool] = []
    seen.reserveCapacity(queries * keys)
    for query in 0..<queries {
      let at = query + offset
      for key in 0..<keys { seen.append(key <= at && narrow.map { key > at - $0 } ?? true) }
      if sink { seen.append(true) }
    }
    let mask = try Tensor(seen, shape: [queries, keys + (sink ? 1 : 0)]).to(device: device)
    masks[id] = mask
    return mask
  }
}
