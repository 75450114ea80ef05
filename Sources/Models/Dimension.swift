/// A named size of an architecture: `hidden_size`, `num_attention_heads`, `head_dim`, …
///
/// A dimension that carries a hyperparameter can be pruned; the others keep their size for good.
public struct Dimension: Sendable, Hashable {
  public let name: String
  public let hyperparameter: Hyperparameter?
  /// A factor that is the same in every model, such as the 2 of gate and up in one projection; nil for a size of its own.
  public let literal: Int?
  /// The one whose size it has to have: none or one.
  private let leaders: [Dimension]

  private init(
    _ name: String, _ hyperparameter: Hyperparameter?, literal: Int? = nil, leaders: [Dimension] = []
  ) {
    self.name = name
    self.hyperparameter = hyperparameter
    self.literal = literal
    self.leaders = leaders
  }

  /// A dimension whose size is that of another, while what is kept of it is its own: channels between two layers of a projector
  /// that a config has no field for.
  init(_ name: String, asLargeAs leader: Dimension) { self.init(name, nil, leaders: [leader]) }

  /// The one whose size it has to have; nil for a size of its own.
  public var leader: Dimension? { leaders.first }

  /// A dimension of fixed size.
  public init(fixed name: String) { self.init(name, nil) }

  /// A factor that is the same in every model.
  init(literal: Int) { self.init("\(literal)", nil, literal: literal) }

  public static let hidden = Dimension("hidden_size", .hiddenSize)
  public static let heads = Dimension("num_attention_heads", .numAttentionHeads)
  /// Heads of keys and values, each of which serves a group of heads.
  public static let kvHeads = Dimension("num_key_value_heads", .numQueryGroups)
  public static let headDim = Dimension(fixed: "head_dim")
  public static let ffn = Dimension("ffn_hidden_size", .ffnHiddenSize)
  public static let experts = Dimension("num_moe_experts", .numMoEExperts)
  /// Groups that routing chooses among before it chooses experts; absent where it does not.
  public static let expertGroups = Dimension(fixed: "n_group")
  public static let moeFFN = Dimension("moe_ffn_hidden_size", .moeFFNHiddenSize)
  public static let sharedFFN = Dimension("moe_shared_expert_intermediate_size", .moeSharedExpertIntermediateSize)
  public static let mambaHeads = Dimension("mamba_num_heads", .mambaNumHeads)
  public static let mambaHeadDim = Dimension("mamba_head_dim", .mambaHeadDim)
  /// Groups of Mamba heads that share their B and C.
  public static let mambaGroups = Dimension(fixed: "n_groups")
  public static let mambaState = Dimension(fixed: "ssm_state_size")
  public static let convKernel = Dimension(fixed: "conv_kernel")
  /// Channels of short convolutions: as many as the hidden size, each layer's own.
  public static let convChannels = Dimension("conv_channels", .convChannels, leaders: [.hidden])
  public static let vocabulary = Dimension(fixed: "vocab_size")
}

/// The size of every dimension of an architecture.
public struct Sizes: Sendable, Hashable {
  private var values: [Dimension: Int]

  public init(_ values: [Dimension: Int]) { self.values = values }

  /// Zero for a dimension the architecture does not have.
  public subscript(dimension: Dimension) -> Int {
    get { dimension.literal ?? values[dimension.leader ?? dimension] ?? 0 }
    set { if dimension.leader == nil { values[dimension] = newValue } }
  }

  /// These sizes with those that others give in their place.
  func replacing(_ others: Sizes) -> Sizes { Sizes(values.merging(others.values) { _, other in other }) }
}
