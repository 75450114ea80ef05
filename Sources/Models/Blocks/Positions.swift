public import Torch

/// Cosines and sines of one range of positions, made when first asked for and shared by all layers.
public final class Positions {
  /// The first token's position; `count` tokens follow one another.
  public let start: Int
  public let count: Int
  /// The positions themselves where they do not follow one another (packed rows).
  private let places: [Int]?
  private let dtype: DType
  private let device: Device
  private var tables: [Rotary: (cosine: Tensor, sine: Tensor)] = [:]

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

  /// Rotates `[B, S, N, D]` by the halves of its first `rotary.dimension` channels, as Llama does, in one pass and in
  /// place; channels behind those (partial rotary) pass as they are.
  ///
  /// - Parameter norm: the weight `[D]` and epsilon of an RMS norm over each head before it turns.
  func turn(_ x: Tensor, _ rotary: Rotary, norm: (weight: Tensor, eps: Double)? = nil) throws -> Tensor {
    let (cosine, sine) = try table(rotary)
    return try x.rotated(cosine: cosine, sine: sine, width: rotary.dimension, norm: norm, into: x)
  }

  /// Rotates neighbouring channels of `[B, S, N, D]` by one another, in place, as DeepSeek lays them out; they come back
  /// as two halves, which scores do not see as long as queries and keys both do.
  func turnNeighbours(_ x: Tensor, _ rotary: Rotary) throws -> Tensor {
    let (cosine, sine) = try table(rotary)
    let shape = x.shape
    let halves = try x.reshape(Array(shape.dropLast()) + [shape[3] / 2, 2]).transpose(3, 4).reshape(shape)
    return try halves.rotated(cosine: cosine, sine: sine, width: rotary.dimension, into: x)
  }
}
