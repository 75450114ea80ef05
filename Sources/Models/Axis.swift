/// A named size of an architecture: `hidden_size`, `num_attention_heads`, `head_dim`, …
///
/// A dimension that carries a hyperparameter can be pruned; the others keep their size for good.
public struct Dimension: Sendable, Hashable {
  public let name: String
  public let hyperparameter: Hyperparameter?

  /// A dimension of fixed size.
  public init(fixed name: String) {
    self.name = name
    hyperparameter = nil
  }

  public init(_ hyperparameter: Hyperparameter) {
    name = hyperparameter.rawValue
    self.hyperparameter = hyperparameter
  }

  public static let hidden = Dimension(.hiddenSize)
  public static let heads = Dimension(.numAttentionHeads)
  public static let ffn = Dimension(.ffnHiddenSize)
  public static let experts = Dimension(.numMoEExperts)
  public static let moeFFN = Dimension(.moeFFNHiddenSize)
  public static let sharedFFN = Dimension(.moeSharedExpertIntermediateSize)
  /// Groups that routing chooses among before it chooses experts; absent where it does not.
  public static let expertGroups = Dimension(fixed: "n_group")
  public static let vocabulary = Dimension(fixed: "vocab_size")
  public static let kvHeads = Dimension(fixed: "num_key_value_heads")
  public static let headDim = Dimension(fixed: "head_dim")
  public static let mambaHeads = Dimension(.mambaNumHeads)
  public static let mambaHeadDim = Dimension(.mambaHeadDim)
  /// Groups of Mamba heads that share their B and C.
  public static let mambaGroups = Dimension(fixed: "n_groups")
  public static let mambaState = Dimension(fixed: "ssm_state_size")
  public static let convKernel = Dimension(fixed: "conv_kernel")
}

/// One axis of a weight, in symbols: a sum (concatenation) of products of dimensions.
///
/// `.heads * .headDim` is heads-major: index = head × head_dim + channel. `a + b` puts b's rows behind a's.
/// Sizes, parameter counts and the indices that stay when something is pruned all follow from this.
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
  public static func + (a: Axis, b: Axis) -> Axis { Axis(segments: a.segments + b.segments) }

  /// The hyperparameters this axis carries, in the order they stand.
  public var hyperparameters: [Hyperparameter] { segments.joined().compactMap(\.hyperparameter) }

  /// Elements along this axis.
  public func size(_ sizes: Sizes) -> Int {
    segments.reduce(0) { sum, product in sum + product.reduce(1) { $0 * sizes[$1] } }
  }

  /// The indices of this axis that stay, ascending; nil when all of them do.
  ///
  /// - Parameters:
  ///   - sizes: the sizes before pruning.
  ///   - kept: for a dimension, the indices that stay, ascending; nil for all.
  public func keptIndices(_ sizes: Sizes, kept: (Dimension) -> [Int]?) -> [Int]? {
    guard segments.joined().contains(where: { kept($0) != nil }) else { return nil }
    var indices: [Int] = []
    var start = 0
    for product in segments {
      var combined = [0]
      var length = 1
      for dimension in product {
        let size = sizes[dimension]
        let stay = kept(dimension) ?? Array(0..<size)
        combined = combined.flatMap { outer in stay.map { outer * size + $0 } }
        length *= size
      }
      indices += combined.map { start + $0 }
      start += length
    }
    return indices
  }
}

/// The size of every dimension of an architecture.
public struct Sizes: Sendable, Hashable {
  private var values: [Dimension: Int]

  public init(_ values: [Dimension: Int]) { self.values = values }

  /// Zero for a dimension the architecture does not have.
  public subscript(dimension: Dimension) -> Int {
    get { values[dimension] ?? 0 }
    set { values[dimension] = newValue }
  }
}
