/// One axis of a weight, in symbols: a sum (concatenation) of products of dimensions.
///
/// `.heads * .headDim` is heads-major: index = head × head_dim + channel. `a + b` puts b's rows after a's.
/// Sizes, parameter counts, the indices that are kept and the scores of what is measured on it all follow from this.
public struct Axis: Sendable, Hashable {
  /// Concatenated segments, each the dimensions of a product, outermost first.
  public let segments: [[Dimension]]

  public init(_ dimension: Dimension) { segments = [[dimension]] }
  private init(segments: [[Dimension]]) { self.segments = segments }

  public static let hidden = Axis(.hidden)
  public static let heads = Axis(.heads)
  public static let ffn = Axis(.ffn)
  public static let experts = Axis(.experts)
  public static let moeFFN = Axis(.moeFFN)
  public static let sharedFFN = Axis(.sharedFFN)
  public static let vocabulary = Axis(.vocabulary)
  public static let kvHeads = Axis(.kvHeads)
  public static let headDim = Axis(.headDim)
  public static let layerInput = Axis(.layerInput)
  public static let layers = Axis(.layers)
  public static let mambaHeads = Axis(.mambaHeads)
  public static let mambaHeadDim = Axis(.mambaHeadDim)
  public static let mambaGroups = Axis(.mambaGroups)
  public static let mambaState = Axis(.mambaState)
  public static let convKernel = Axis(.convKernel)
  /// An axis of size one.
  public static let one = Axis(segments: [[]])

  public static func * (a: Axis, b: Axis) -> Axis {
    Axis(segments: a.segments.flatMap { left in b.segments.map { left + $0 } })
  }
  /// A factor that is the same in every model: of a gate and an up projection in one, `.ffn * 2` with the two of each
  /// channel side by side.
  public static func * (a: Axis, factor: Int) -> Axis { a * Axis(Dimension(literal: factor)) }
  public static func + (a: Axis, b: Axis) -> Axis { Axis(segments: a.segments + b.segments) }

  /// The dimensions of all segments, in their order.
  public var dimensions: [Dimension] { Array(segments.joined()) }
  /// The hyperparameters this axis carries, in their order.
  public var hyperparameters: [Hyperparameter] { dimensions.compactMap(\.hyperparameter) }

  /// Elements along this axis.
  public func size(_ sizes: Sizes) -> Int {
    segments.reduce(0) { sum, product in sum + product.reduce(1) { $0 * sizes[$1] } }
  }

  /// The indices of this axis that are kept, ascending; nil when all of them are.
  ///
  /// - Parameters:
  ///   - sizes: the sizes before pruning.
  ///   - kept: for a dimension, the indices that are kept, ascending; nil for all.
  public func keptIndices(_ sizes: Sizes, kept: (Dimension) -> [Int]?) -> [Int]? {
    guard segments.joined().contains(where: { kept($0) != nil }) else { return nil }
    var indices: [Int] = []
    var start = 0
    for product in segments {
      var combined = [0]
      var length = 1
      for dimension in product {
        let size = sizes[dimension]
        let indices = kept(dimension) ?? Array(0..<size)
        combined = combined.flatMap { outer in indices.map { outer * size + $0 } }
        length *= size
      }
      indices += combined.map { start + $0 }
      start += length
    }
    return indices
  }

  /// What values along this axis say of each index of one of its dimensions: the L2 norm over the other dimensions of
  /// the product. On `.heads * .headDim`, a head's score is the norm over its channels.
  ///
  /// - Parameters:
  ///   - values: one for each index of the axis.
  ///   - sizes: those that the values were measured with.
  ///   - dimension: one of the axis.
  /// - Returns: one for each index of `dimension`; nil for an axis that is no product with this dimension.
  public func norms(_ values: [Float], along dimension: Dimension, _ sizes: Sizes) -> [Float]? {
    guard segments.count == 1, let place = segments[0].firstIndex(of: dimension), values.count == size(sizes) else {
      return nil
    }
    // Nothing to sum over: not even rounding may change the values.
    if segments[0].count == 1 { return values }
    let stride = segments[0][(place + 1)...].reduce(1) { $0 * sizes[$1] }
    let count = sizes[dimension]
    var squares = [Float](repeating: 0, count: count)
    for (index, value) in values.enumerated() { squares[index / stride % count] += value * value }
    return squares.map { $0.squareRoot() }
  }
}
