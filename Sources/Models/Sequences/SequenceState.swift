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

  public init() {}

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
