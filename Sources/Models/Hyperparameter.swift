/// What Minitron prunes, by the names of NVIDIA Model-Optimizer's `mcore_minitron` (its `SUPPORTED_HPARAMS`).
///
/// Everything that is particular to one of them is in its row (`facts`).
public enum Hyperparameter: String, Sendable, Hashable, CaseIterable {
  case numLayers = "num_layers"
  case hiddenSize = "hidden_size"
  case numAttentionHeads = "num_attention_heads"
  case numQueryGroups = "num_query_groups"
  case ffnHiddenSize = "ffn_hidden_size"
  case mambaNumHeads = "mamba_num_heads"
  case mambaHeadDim = "mamba_head_dim"
  case numMoEExperts = "num_moe_experts"
  case moeFFNHiddenSize = "moe_ffn_hidden_size"
  case moeSharedExpertIntermediateSize = "moe_shared_expert_intermediate_size"
  /// Nobody's to set: it is what hidden_size is, and which channels go is measured.
  case convChannels = "conv_channels"
  /// The same: twice ffn_hidden_size, in the layers whose MLPs are twice as wide.
  case doubleFFNChannels = "double_ffn_channels"
  /// The same: a multiple of hidden_size, in mixers of the first Mamba.
  case mambaChannels = "mamba_channels"

  /// Everything that is particular to this hyperparameter: one row each.
  public var facts: HyperparameterFacts {
    switch self {
    case .numLayers: HyperparameterFacts(nil, .model, step: .number(2), heading: "layers")
    case .hiddenSize:
      HyperparameterFacts(.hidden, .model, step: .channels(256), preferredMultiple: 64, heading: "hidden")
    case .numAttentionHeads:
      HyperparameterFacts(.heads, .layer, groups: (.kvHeads, "key-value heads"), step: .groups, heading: "heads")
    case .numQueryGroups:
      HyperparameterFacts(.kvHeads, .layer, members: .numAttentionHeads, step: nil, heading: "kv heads")
    case .ffnHiddenSize:
      HyperparameterFacts(
        .ffn, .layer, step: .channels(512, withExperts: 256), preferredMultiple: 64, heading: "ffn")
    case .mambaNumHeads:
      HyperparameterFacts(
        .mambaHeads, .layer, groups: (.mambaGroups, "n_groups"), step: .groups, heading: "mamba heads")
    case .mambaHeadDim:
      HyperparameterFacts(.mambaHeadDim, .layer, step: .number(8), preferredMultiple: 8, heading: "mamba head dim")
    case .numMoEExperts:
      HyperparameterFacts(
        .experts, .layer, groups: (.expertGroups, "n_group, the groups of experts that routing chooses among"),
        step: .number(8), preferredMultiple: 8, heading: "experts")
    case .moeFFNHiddenSize:
      HyperparameterFacts(
        .moeFFN, .layer, step: .channels(512, withExperts: 256), preferredMultiple: 64, heading: "expert ffn")
    case .moeSharedExpertIntermediateSize:
      HyperparameterFacts(
        .sharedFFN, .layer, step: .channels(512, withExperts: 256), preferredMultiple: 64, heading: "shared ffn")
    case .convChannels: HyperparameterFacts(.convChannels, .layer, step: nil, heading: "conv channels")
    case .doubleFFNChannels: HyperparameterFacts(.doubleFFN, .layer, step: nil, heading: "double ffn channels")
    case .mambaChannels: HyperparameterFacts(.mambaChannels, .layer, step: nil, heading: "mamba channels")
    }
  }

  /// What it counts; nil for layers.
  public var dimension: Dimension? { facts.dimension }

  /// Whether its value is another's: nobody sets it, and what is kept of it is chosen all the same.
  public var follows: Bool { dimension?.leader != nil }

  /// Those that can be set.
  public static var settable: [Hyperparameter] { allCases.filter { !$0.follows } }

  /// Those that a search prunes unless told otherwise; the others are pruned by hand.
  public static var searched: [Hyperparameter] { allCases.filter(\.facts.isSearched) }
}

/// A hyperparameter's row: what it counts, how it is ranked, and which values it takes.
public struct HyperparameterFacts: Sendable {
  /// How far one ranking reaches.
  public enum Scope: Sendable {
    /// One for the whole model.
    case model
    /// One for each layer.
    case layer
  }

  /// What the choices of a search are multiples of.
  public enum Step: Sendable {
    case number(Int)
    /// The number of its groups.
    case groups
    /// `channel_divisor` where it is set, else this number, or the other in models with experts.
    case channels(Int, withExperts: Int? = nil)
  }

  /// What it counts; nil for layers.
  public let dimension: Dimension?
  public let scope: Scope
  /// What it is divided into: ranked within each of these, all of which lose the same number; and what messages call them.
  public let groups: (dimension: Dimension, name: String)?
  /// What it is the groups of: a group's score is the L2 norm of its members' scores, and its members go with it.
  public let members: Hyperparameter?
  /// Nil for one that is pruned by hand alone.
  public let step: Step?
  /// What values should be multiples of to run well everywhere.
  public let preferredMultiple: Int
  /// A heading for narrow tables.
  public let heading: String

  init(
    _ dimension: Dimension?, _ scope: Scope, groups: (Dimension, String)? = nil, members: Hyperparameter? = nil,
    step: Step?, preferredMultiple: Int = 1, heading: String
  ) {
    self.dimension = dimension
    self.scope = scope
    self.groups = groups.map { (dimension: $0.0, name: $0.1) }
    self.members = members
    self.step = step
    self.preferredMultiple = preferredMultiple
    self.heading = heading
  }

  /// Whether a search prunes it unless told otherwise.
  public var isSearched: Bool { step != nil }
}
