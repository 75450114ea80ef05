import Torch

// Shapes: B rows, S tokens, H hidden, C channels of a layer's keys and values together.

/// Keys and values that one layer makes and later ones read as well (YOCO, Sun et al. 2024, arXiv 2405.05254; Gemma 4), or what its
/// indexer asks and answers with: in between they lie beside the residual stream, so that they go wherever its states go.
public struct KeyRide: Sendable, Hashable {
  /// The layer (0-based) that makes them, or the first of several that make them anew.
  public let layer: Int
  /// Channels of all of it together.
  let channels: Int
}

/// Those of one batch, on the path through a layer.
final class KeyRides {
  private var tensors: [Int: Tensor] = [:]

  init() {}

  /// Takes the residual stream and what lies beside it apart.
  ///
  /// - Parameters:
  ///   - state: `[B, S, H + all C]`.
  ///   - incoming: what lies there, in its order.
  /// - Returns: the stream, `[B, S, H]`.
  func board(_ state: Tensor, _ incoming: [KeyRide]) throws -> Tensor {
    let hidden = state.shape[2] - incoming.reduce(0) { $0 + $1.channels }
    guard hidden > 0 else { throw ModelError("the keys and values of earlier layers have not come with their states") }
    var start = hidden
    for ride in incoming {
      tensors[ride.layer] = try state.narrow(dim: 2, start: start, length: ride.channels)
      start += ride.channels
    }
    return try incoming.isEmpty ? state : state.narrow(dim: 2, start: 0, length: hidden).contiguous()
  }

  /// Puts what later layers read beside the residual stream `[B, S, H]`.
  func leave(_ stream: Tensor, _ outgoing: [KeyRide]) throws -> Tensor {
    try outgoing.isEmpty ? stream : Tensor.cat([stream] + outgoing.map { try tensor($0.layer) }, dim: 2)
  }

  /// Keys and values that a layer has made, each `[B, S, K × D]`.
  func lend(key: Tensor, value: Tensor, layer: Int) throws { tensors[layer] = try Tensor.cat([key, value], dim: 2) }

  /// What an indexer has made, `[B, S, C]`, in place of what one before it made.
  func lend(_ index: Tensor, as layer: Int) { tensors[layer] = index }

  /// The same.
  func borrowed(_ layer: Int) throws -> Tensor { try tensor(layer) }

  /// Those of a layer before, each `[B, S, K × D]`.
  func borrowed(from layer: Int) throws -> (key: Tensor, value: Tensor) {
    let halves = try tensor(layer).chunk(2, dim: 2)
    return (try halves[0].contiguous(), try halves[1].contiguous())
  }

  private func tensor(_ layer: Int) throws -> Tensor {
    guard let tensor = tensors[layer] else {
      throw ModelError("a layer reads what layer \(layer + 1) makes, which did not go before it")
    }
    return tensor
  }
}
