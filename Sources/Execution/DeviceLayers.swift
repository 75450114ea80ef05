import Dispatch
import Models
import Torch

/// A layer that is read and copied to an accelerator on another thread.
///
/// Unchecked: `result` is written before the group is left and read after it was waited for.
final class ComingLayer: @unchecked Sendable {
  let layer: Int
  private let group = DispatchGroup()
  private var result: Result<[String: Transfer], any Error>?

  init(_ layer: Int, _ names: [String], of model: SourceModel, to device: Device, on queue: DispatchQueue) {
    self.layer = layer
    group.enter()
    queue.async { [self] in
      model.checkpoint.willNeed(names)
      result = Result {
        try Dictionary(uniqueKeysWithValues: names.map { ($0, try Transfer(model.tensor($0), to: device)) })
      }
      model.checkpoint.release(names)
      group.leave()
    }
  }

  /// The copies, as soon as all have been started.
  func wait() throws -> [String: Transfer]? {
    group.wait()
    return try result?.get()
  }
}

/// Layers that an accelerator keeps, within some room.
struct ResidentLayers {
  private var room: Int
  private var layers: [Int: LayerWeights] = [:]

  /// - Parameter room: bytes.
  init(room: Int) { self.room = room }

  subscript(layer: Int) -> LayerWeights? { layers[layer] }

  /// Keeps a layer where there is room for it.
  mutating func keep(_ layer: Int, _ weights: LayerWeights) {
    guard room > 0 else { return }
    let bytes =
      weights.all.values.reduce(0) { $0 + $1.byteCount }
      + weights.allExperts.values.joined().reduce(0) { $0 + $1.byteCount }
    guard bytes <= room else { return }
    room -= bytes
    layers[layer] = weights
  }
}
