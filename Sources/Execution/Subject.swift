public import Models

/// Weights that a subject has instead of the model's: refitted ones, a student's, adapters.
public protocol WeightOverlay: AnyObject {
  /// The first layer with other weights, original and 0-based: before it a subject is computed together with those that are alike.
  var firstLayer: Int { get }

  /// The weights to compute with.
  ///
  /// - Parameters:
  ///   - weights: as the selection has them: a layer's; outside the layers the final norm's, or the head where it is not the
  ///     embedding.
  ///   - selection: the subject's.
  ///   - layer: the original layer's 0-based number, asked for in ascending order in each chunk of a walk; nil outside the layers,
  ///     which is asked for after them.
  func apply(_ weights: LayerWeights, of selection: Selection, layer: Int?) throws -> LayerWeights
}

extension WeightOverlay {
  public var firstLayer: Int { 0 }
}

/// One of the models that a walk computes: a part of the original, perhaps with weights of its own.
public struct Subject {
  /// What is kept of the model.
  public let selection: Selection
  /// nil for the model's own weights. Subjects with an overlay share computation only with those that have the same one.
  public let overlay: (any WeightOverlay)?

  public init(_ selection: Selection, overlay: (any WeightOverlay)? = nil) {
    self.selection = selection
    self.overlay = overlay
  }

  var layers: [Int] { selection.layers }
}

/// Subjects whose states are the same before a layer and that are cut alike in it: they are computed once.
package struct LayerGroup {
  /// The path of the states that go in.
  package let path: Int
  package var members: [Int]
  /// Whether this is their last layer: of packed rows only the wanted tokens are needed after it.
  package let isLast: Bool

  private struct Cut: Hashable {
    let path: Int
    let cuts: [Models.Dimension: [[Int]]]
    let overlay: ObjectIdentifier?
    let isLast: Bool
  }

  /// - Parameters:
  ///   - members: the subjects that have the layer, by number.
  ///   - paths: of every subject, the path that its states took so far.
  package static func groups(_ members: [Int], _ subjects: [Subject], _ paths: [Int], layer: Int) -> [LayerGroup] {
    var groups: [LayerGroup] = []
    var known: [Cut: Int] = [:]
    for member in members {
      let selection = subjects[member].selection
      let cut = Cut(
        path: paths[member],
        cuts: selection.cuts(inLayer: layer),
        overlay: subjects[member].overlay.flatMap { layer < $0.firstLayer ? nil : ObjectIdentifier($0) },
        isLast: selection.layers.last == layer)
      if let at = known[cut] {
        groups[at].members.append(member)
      } else {
        known[cut] = groups.count
        groups.append(LayerGroup(path: cut.path, members: [member], isLast: cut.isLast))
      }
    }
    return groups
  }
}
