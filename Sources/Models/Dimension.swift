/// A named size of an architecture: `hidden_size`, `num_attention_heads`, `head_dim`, …
///
/// A dimension that carries a hyperparameter can be pruned; the others keep their size for good.
public struct Dimension: Sendable, Hashable {
  public let name: String
  public let hyperparameter: Hyperparameter?
  /// A factor that is the same in every model, such as the 2 of gate and up in one projection; nil for a size of its own.
  public let literal: Int?
  /// The one that its size follows: none or one.
  private let leaders: [Dimension]
  /// What that one's size is multiplied by: nothing or one.
  private let factors: [Dimension]

  private init(
    _ name: String, _ hyperparameter: Hyperparameter?, literal: Int? = nil, leaders: [Dimension] = [],
    times factors: [Dimension] = []
  ) {
    self.name = name
    self.hyperparameter = hyperparameter
    self.literal = literal
    self.leaders = leaders
    self.factors = factors
  }

  /// A dimension whose size is that of another, while what is kept of it is its own: channels between two layers of a projector
  /// that a config has no field for.
  init(_ name: String, asLargeAs leader: Dimension) { self.init(name, nil, leaders: [leader]) }

  /// The one whose size, or a multiple of it, it has to have; nil for a size of its own.
  public var leader: Dimension? { leaders.first }

  /// How many times as large as that one it is.
  public func multiple(_ sizes: Sizes) -> Int { factors.reduce(1) { $0 * sizes[$1] } }

  /// A dimension of fixed size.
  public init(fixed name: String) { self.init(name, nil) }

  /// A factor that is the same in every model.
  init(literal: Int) { self.init("\(literal)", nil, literal: literal) }

  public static let hidden = Dimension("hidden_size", .hiddenSize)
  public static let heads = Dimension("num_attention_heads", .numAttentionHeads)
  /// Heads of keys and values, each of which serves a group of heads.
  public static let kvHeads = Dimension("num_key_value_heads", .numQueryGroups)
  public static let headDim = Dimension(fixed: "head_dim")
  /// The same of layers that see all tokens, where those have sizes of their own (Gemma 4).
  public static let globalKVHeads = Dimension(fixed: "num_global_key_value_heads")
  public static let globalHeadDim = Dimension(fixed: "global_head_dim")
  public static let ffn = Dimension("ffn_hidden_size", .ffnHiddenSize)
  /// Channels of MLPs that are twice as wide as the others (Gemma 4): each layer's own are ranked, and twice as many are kept.
  public static let doubleFFN = Dimension(
    "double_ffn_channels", .doubleFFNChannels, leaders: [.ffn], times: [Dimension(literal: 2)])
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
  /// Channels of a Mamba-1 mixer: `mamba_expand` times the hidden size, each layer's own.
  public static let mambaChannels = Dimension(
    "mamba_channels", .mambaChannels, leaders: [.hidden], times: [.mambaExpand])
  public static let mambaExpand = Dimension(fixed: "mamba_expand")
  /// Channels that a Mamba-1 mixer's steps come of.
  public static let mambaStepRank = Dimension(fixed: "mamba_dt_rank")
  /// Channels of short convolutions: as many as the hidden size, each layer's own.
  public static let convChannels = Dimension("conv_channels", .convChannels, leaders: [.hidden])
  public static let vocabulary = Dimension(fixed: "vocab_size")
  /// Channels of what each layer gets of each token besides the residual stream (Gemma 4), and the rows of their table.
  public static let layerInput = Dimension(fixed: "hidden_size_per_layer_input")
  public static let layerInputVocabulary = Dimension(fixed: "vocab_size_per_layer_input")
  /// Layers, where a weight outside them has a part for each. `Selection.layers` says which are kept.
  public static let layers = Dimension("num_hidden_layers", .numLayers)
}

/// The size of every dimension of an architecture.
public struct Sizes: Sendable, Hashable {
  private var values: [Dimension: Int]

  public init(_ values: [Dimension: Int]) { self.values = values }

  /// Zero for a dimension the architecture does not have.
  public subscript(dimension: Dimension) -> Int {
    get { dimension.literal ?? (values[dimension.leader ?? dimension] ?? 0) * dimension.multiple(self) }
    set { if dimension.leader == nil { values[dimension] = newValue } }
  }

  /// The dimensions that have a size.
  public var dimensions: some Sequence<Dimension> { values.keys }

  /// These sizes with those that others give in their place; themselves where there are no others.
  public func replacing(_ others: Sizes?) -> Sizes {
    others.map { Sizes(values.merging($0.values) { _, other in other }) } ?? self
  }
}
