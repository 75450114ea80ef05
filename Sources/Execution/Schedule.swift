/// How many layers of a walk are in memory together. Results are the same bytes whatever it says.
public enum BandRule: Sendable, Equatable {
  /// One layer, unless hidden states would have to go through the disk and several layers fit into memory beside them.
  case automatic
  /// So many layers, at least one.
  case layers(Int)
}

/// The order of a walk's work: which layers are in memory together, what is done with a batch before the next one, and
/// which hidden states are kept in between.
///
/// Layers come in *bands*. A band of one layer is walked group by group: all batches go through the layer as one group
/// of subjects has it, then through the next group's. In a band of several layers each batch goes through all of them
/// before the next batch does: states are put away once a band, not once a layer.
///
/// A *path* identifies states: subjects have the same one as long as they are computed alike.
package struct Schedule {
  /// One layer as one group of subjects has it, for one batch at a time.
  package struct Step: Equatable {
    package let layer: Int
    /// Numbers of subjects.
    package let members: [Int]
    /// Paths of the states that go in and come out.
    package let input: Int, output: Int
    /// Whether only the wanted tokens of packed rows are needed after it.
    package let lastTokensOnly: Bool
    /// Whether no later step of the leg and no later leg needs what goes in.
    package fileprivate(set) var isLastUse = false
  }

  /// What is done with a batch before the next one.
  package struct Leg: Equatable {
    package fileprivate(set) var steps: [Step]
    /// Paths whose states are kept before and after the leg.
    package fileprivate(set) var before: Set<Int> = []
    package fileprivate(set) var after: Set<Int> = []
    /// Layers that no later leg needs.
    package fileprivate(set) var finished: [Int] = []

    /// Outputs that are put away at the end, in the order in which they are made.
    package var kept: [Int] { steps.map(\.output).filter(after.contains) }
  }

  package private(set) var legs: [Leg] = []
  /// The path of each subject after its last layer.
  package let ends: [Int]
  /// The layers that some subject has, in the order of the walk.
  package let layers: [Int]

  /// - Parameters:
  ///   - starts: each subject's path after the embedding.
  ///   - bands: layers that are in memory together, ascending, each layer in one band.
  ///   - together: whether a batch goes through a layer as every group has it before the next batch does.
  package init(_ subjects: [Subject], starts: [Int], bands: [Range<Int>], together: Bool = false) {
    var paths = starts
    var next = (starts.max() ?? -1) + 1
    for band in bands {
      var steps: [Step] = []
      for layer in band {
        let members = subjects.indices.filter { subjects[$0].layers.contains(layer) }
        for group in LayerGroup.groups(members, subjects, paths, layer: layer) {
          steps.append(
            Step(
              layer: layer, members: group.members, input: group.path, output: next, lastTokensOnly: group.isLast))
          for member in group.members { paths[member] = next }
          next += 1
        }
      }
      // Of one layer only the weights of one group at a time need be in memory.
      if Set(steps.map(\.layer)).count == 1, !together {
        legs += steps.map { Leg(steps: [$0]) }
      } else if !steps.isEmpty {
        legs.append(Leg(steps: steps))
      }
    }
    ends = paths
    layers = Set(legs.flatMap { $0.steps.map(\.layer) }).sorted()

    var needed = Set(paths)
    var seen: Set<Int> = []
    for number in legs.indices.reversed() {
      legs[number].after = needed
      for index in legs[number].steps.indices.reversed() {
        let step = legs[number].steps[index]
        legs[number].steps[index].isLastUse = !needed.contains(step.input)
        needed.remove(step.output)
        needed.insert(step.input)
        if seen.insert(step.layer).inserted { legs[number].finished.insert(step.layer, at: 0) }
      }
      legs[number].before = needed
    }
  }

  /// The legs of some layers, which are whole bands; nil: of all.
  func legs(of layers: Range<Int>?) -> Range<Int> {
    func first(from layer: Int) -> Int {
      legs.firstIndex { ($0.steps.first?.layer ?? 0) >= layer } ?? legs.count
    }
    return layers.map { first(from: $0.lowerBound)..<first(from: $0.upperBound) } ?? 0..<legs.count
  }

  /// How often a layer is computed for each batch: the groups that subjects fall into there.
  package func steps(of layer: Int) -> Int {
    legs.reduce(0) { $0 + $1.steps.reduce(0) { $0 + ($1.layer == layer ? 1 : 0) } }
  }

  /// Paths of a batch's states that are kept when `leg` legs are done, and of the next one the first `batches` batches.
  package func kept(leg: Int, batches: Int, batch: Int) -> Set<Int> {
    guard legs.indices.contains(leg) else { return Set(ends) }
    return batch < batches ? legs[leg].after : legs[leg].before
  }
}

/// The size of bands, from what they cost and save.
package struct BandSize: Equatable {
  package let layers: Int
  /// Bytes of memory that the layers of a band beyond the first take from the hidden states.
  package let reservedBytes: Int
  /// Bytes of hidden states that go to the disk and come back.
  package let spilledBytes: Int

  static let one = BandSize(layers: 1, reservedBytes: 0, spilledBytes: 0)

  /// - Parameters:
  ///   - count: layers of the walk.
  ///   - layerBytes: of the largest layer's weights in memory, of all its groups of subjects.
  ///   - stateBytes: hidden states in all.
  ///   - budget: bytes of memory for hidden states, of which layers beyond the first take their weights.
  package init(layers: Int, count: Int, layerBytes: Int, stateBytes: Int, budget: Int) {
    let bands = (count + layers - 1) / max(layers, 1)
    self.layers = layers
    reservedBytes = (layers - 1) * layerBytes
    spilledBytes = 2 * bands * max(stateBytes - max(budget - reservedBytes, 0), 0)
  }

  private init(layers: Int, reservedBytes: Int, spilledBytes: Int) {
    self.layers = layers
    self.reservedBytes = reservedBytes
    self.spilledBytes = spilledBytes
  }

  /// The size with the fewest bytes to and from the disk; of equal ones the smallest.
  package static func best(count: Int, layerBytes: Int, stateBytes: Int, budget: Int) -> BandSize {
    func size(_ layers: Int) -> BandSize {
      BandSize(layers: layers, count: count, layerBytes: layerBytes, stateBytes: stateBytes, budget: budget)
    }
    var best = size(1)
    guard best.spilledBytes > 0, count > 1 else { return best }
    for layers in 2...count where (layers - 1) * layerBytes <= budget {
      let found = size(layers)
      if found.spilledBytes < best.spilledBytes { best = found }
    }
    return best
  }
}
