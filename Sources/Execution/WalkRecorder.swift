import Models
public import Torch

/// How far a walk over many batches has come.
public struct WalkPosition: Sendable, Equatable {
  /// A hash of all batches, token by token: a walk is resumed with the same ones only.
  public var batches: UInt64
  /// The batches, of all, that are going through the layers now. Those before are done; empty when the next are yet to be
  /// chosen.
  public var chunk: Range<Int>
  /// The first layer of each band, ascending: how the chunk is walked.
  public var bands: [Int]
  /// Legs of the schedule that are done.
  public var leg: Int
  /// Batches of the chunk that the next leg has done.
  public var batch: Int

  public init(batches: UInt64, chunk: Range<Int>, bands: [Int] = [], leg: Int = 0, batch: Int = 0) {
    self.batches = batches
    self.chunk = chunk
    self.bands = bands
    self.leg = leg
    self.batch = batch
  }
}

/// Saves a walk as it goes, so that another process can go on where this one was ended.
///
/// The walk knows positions and hidden states; what was learned on the way (statistics, scores) is the recorder's to
/// save with them and to restore.
public protocol WalkRecorder: AnyObject {
  /// Restores what an earlier process saved.
  ///
  /// - Parameters:
  ///   - fits: whether there can be such a position with these states.
  ///   - put: takes each of the states.
  /// - Returns: where to go on; nil to begin at the beginning, with nothing restored of what was learned. States that
  ///   were put by then are forgotten.
  /// - Throws: what `put` throws.
  func resume(
    fits: (WalkPosition, Set<StateKey>) -> Bool, put: (StateKey, Tensor) throws -> Void
  ) throws -> WalkPosition?

  /// Whether it is time to save. Asked after every batch, and between chunks, where no states are to be saved.
  func isDue(withStates: Bool) -> Bool

  /// Saves the walk. A failure is no reason to end the walk: it is noted, not thrown.
  ///
  /// - Parameters:
  ///   - keys: the states that the rest of the chunk needs.
  ///   - state: each of them. A state never changes under its key.
  ///   - position: how far the walk has come.
  func save(_ position: WalkPosition, keys: [StateKey], state: (StateKey) throws -> Tensor)
}

extension WalkRecorder {
  /// Saves a walk where the first batches are done and no others are on their way, if it is time.
  ///
  /// - Parameter digest: of all batches.
  func save(between done: Int, of count: Int, _ digest: UInt64) {
    guard done < count, isDue(withStates: false) else { return }
    save(WalkPosition(batches: digest, chunk: done..<done), keys: []) { _ in throw ModelError("no state is kept") }
  }
}
