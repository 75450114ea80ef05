import Models
import Torch

/// Linear maps of a layer that read the same activations: they are refitted together, after those before them.
struct RefitSite {
  var weights: [Weight]
  /// Those of them that have biases.
  var biases: [Weight: Weight] = [:]
  /// The residual branch that they are in.
  let sublayer: Int
  /// Maps of routed experts, each of which sees tokens of its own.
  var experts: Experts?
  /// What they should give: what the original's give, or what brings the residual stream to where the original's is.
  var aim = Aim.output

  enum Aim {
    /// The original's output of each map, of the channels that are kept.
    case output
    /// The original's residual stream after the branch, less the pruned model's before it: what earlier layers lack is made up for.
    case stream
  }

  enum Experts {
    /// What reads the tokens.
    case first
    /// What reads what those give.
    case down
  }

  /// Whether what a branch adds to the stream is this map's output, times a number.
  static func reachesStream(_ weights: [Weight], _ sublayer: Int, of layer: LayerDescription) -> Bool {
    weights.count == 1 && weights[0].writesAxis == 0 && layer.reachesStream(sublayer)
  }
}

/// Finds the sites of a layer while one batch goes through it.
struct RefitSites {
  private(set) var sites: [RefitSite] = []
  private let layer: LayerDescription
  private var sublayer = 0
  private weak var input: Tensor?

  init(_ layer: LayerDescription) { self.layer = layer }

  mutating func enter(_ sublayer: Int) { (self.sublayer, input) = (sublayer, nil) }

  mutating func see(_ weight: Weight, bias: Weight?, _ input: Tensor) {
    if let last = self.input, last === input, !sites.isEmpty {
      sites[sites.count - 1].weights.append(weight)
    } else {
      sites.append(RefitSite(weights: [weight], sublayer: sublayer))
    }
    sites[sites.count - 1].biases[weight] = bias
    self.input = input
  }

  /// Experts' maps are refitted for all experts at once: first those that read the tokens.
  mutating func seeExperts(_ weight: Weight) {
    guard let maps = layer.experts(inBranch: sublayer)?.expertMaps, weight == maps.first.first,
      !sites.contains(where: { $0.weights.first == weight })
    else { return }
    sites.append(RefitSite(weights: maps.first, sublayer: sublayer, experts: .first))
    sites.append(RefitSite(weights: [maps.down], sublayer: sublayer, experts: .down))
    input = nil
  }

  /// All of them, when the batch is through.
  func found() -> [RefitSite] {
    // The first reads what the norm gives, and is known too late for the stream of the first batch.
    sites.enumerated().map { number, site in
      var site = site
      if number > 0, site.experts == nil, RefitSite.reachesStream(site.weights, site.sublayer, of: layer) {
        site.aim = .stream
      }
      return site
    }
  }
}

extension LayerDescription {
  /// Whether what a branch's last map gives is added to the stream as it is, times a number.
  func reachesStream(_ sublayer: Int) -> Bool {
    let branch = sublayers[sublayer]
    return !isParallel && branch.postNorm == nil && branch.block.expertWeights.isEmpty
  }

  func experts(inBranch sublayer: Int) -> MixtureOfExperts? { sublayers[sublayer].block as? MixtureOfExperts }
}
