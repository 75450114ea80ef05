import Torch

// What blocks keep between tokens. Shapes: B sequences, S tokens, C channels.

/// What a recurrence keeps of the tokens before: the convolution's last inputs, `[B, conv_kernel − 1, C]`, and its
/// state, `[B, …]`.
struct RecurrentState {
  let convolution: Tensor
  let state: Tensor
}

/// Keys and values of the tokens seen so far, by layer.
public final class KeyValueCache {
  private var entries: [Int: (key: Tensor, value: Tensor)] = [:]
  /// Of recurrent layers.
  var scans: [Int: RecurrentState] = [:]
  public init() {}

  /// - Parameter tokenAxis: the axis that tokens stand on.
  func append(key: Tensor, value: Tensor, layer: Int, tokenAxis: Int) throws -> (Tensor, Tensor) {
    var entry = (key: key, value: value)
    if let before = entries[layer] {
      entry.key = try Tensor.cat([before.key, key], dim: tokenAxis)
      entry.value = try Tensor.cat([before.value, value], dim: tokenAxis)
    }
    entries[layer] = entry
    return (entry.key, entry.value)
  }
}

/// Keys and values, or a recurrence's state, that one packed row leaves to the next.
public final class CarriedKeys {
  private var entry: (key: Tensor, value: Tensor)?
  var state: RecurrentState?
  /// Of sequences that go on from step to step, by the place of their first key.
  var states: [Int: RecurrentState] = [:]
  private let capacity: Int

  /// - Parameter capacity: keys that are kept from step to step, each in a place of its own (`Packing.stored`). Memory is taken
  ///   as places are used.
  public init(capacity: Int = 0) { self.capacity = capacity }

  /// Puts keys and values into their places.
  ///
  /// - Returns: those of all places; what is in places that nobody has used yet is arbitrary.
  func store(key: Tensor, value: Tensor, at places: Tensor) throws -> (key: Tensor, value: Tensor) {
    func empty(_ x: Tensor) throws -> Tensor {
      try .empty([1, capacity] + x.shape.dropFirst(2), dtype: x.dtype, device: x.device)
    }
    let all = try entry ?? (try empty(key), try empty(value))
    entry = all
    try all.key.indexCopy(dim: 1, index: places, source: key)
    try all.value.indexCopy(dim: 1, index: places, source: value)
    return all
  }

  /// Puts what was carried before a row's own keys and values, and keeps what the next row needs.
  func join(key: Tensor, value: Tensor, _ packing: Packing) throws -> (key: Tensor, value: Tensor) {
    var joined = (key: key, value: value)
    if packing.carried > 0 {
      guard let entry, entry.key.shape[1] == packing.carried else {
        throw ModelError("a packed row continues one that did not go before it")
      }
      joined = (try .cat([entry.key, key], dim: 1), try .cat([entry.value, value], dim: 1))
    }
    entry = nil
    if !packing.kept.isEmpty {
      func part(_ x: Tensor) throws -> Tensor {
        try x.narrow(dim: 1, start: packing.kept.lowerBound, length: packing.kept.count).clone()
      }
      entry = (try part(joined.key), try part(joined.value))
    }
    return joined
  }
}
