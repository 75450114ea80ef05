public import Torch

/// A tensor on its way between two ranks that both know its shape and type beforehand, while they go on computing.
public struct Exchange {
  /// What is sent, or, once it is finished, what has come. It must not change before.
  public let tensor: Tensor
  fileprivate let message: PendingMessage
  fileprivate let other: Int
}

extension World {
  /// Starts to send a tensor to a rank that receives one of its shape: those between two ranks arrive in their order.
  ///
  /// - Parameter tensor: contiguous, on the CPU.
  public func begin(sending tensor: Tensor, to rank: Int) throws -> Exchange {
    try begin(tensor, with: rank) { try $0.send(tensor, to: rank, tag: Tag.exchange) }
  }

  /// Starts to receive.
  ///
  /// - Parameter tensor: contiguous, on the CPU: what comes is written into it.
  public func begin(receivingInto tensor: Tensor, from rank: Int) throws -> Exchange {
    try begin(tensor, with: rank) { try $0.receive(into: tensor, from: rank, tag: Tag.exchange) }
  }

  /// Waits until a tensor is sent or received.
  ///
  /// - Throws: `RankError` when another rank has ended.
  public func finish(_ exchange: Exchange) throws {
    try connections?.monitor.wait(for: exchange.message, with: exchange.other)
  }

  private func begin(
    _ tensor: Tensor, with rank: Int, _ body: (ProcessGroup) throws -> PendingMessage
  ) throws -> Exchange {
    try checkRank(rank)
    guard let connections else { throw RankError(.misuse, "a run of one process exchanges nothing") }
    return Exchange(tensor: tensor, message: try started(rank) { try body(connections.group) }, other: rank)
  }
}
