public import Torch

/// Identifies hidden states: the path that they took, which subjects that are computed alike share, and the batch.
public struct StateKey: Hashable, Sendable {
  public let path: Int
  public let batch: Int

  public init(path: Int, batch: Int) {
    self.path = path
    self.batch = batch
  }
}

/// Where the hidden states of a walk are between its legs: a store in memory and on disk, or another process.
public protocol StateChannel: AnyObject {
  /// - Throws: when the state cannot be kept or sent.
  func put(_ key: StateKey, _ state: Tensor) throws
  /// The state; it is kept until it is removed.
  func get(_ key: StateKey) throws -> Tensor
  /// Says that nobody needs the state any more. A key that is not there is ignored.
  func remove(_ key: StateKey)
}
