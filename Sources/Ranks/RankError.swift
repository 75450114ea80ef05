public import Messages

/// Why processes that do one run together cannot begin or go on, in words for the person who started them.
public struct RankError: MessageError, Equatable {
  public enum Kind: Sendable, Equatable {
    /// What the launcher says of the ranks contradicts itself, or is incomplete.
    case environment
    /// The ranks did not find each other.
    case rendezvous
    /// The ranks differ in what must be the same.
    case disagreement
    /// A rank ended or does not answer.
    case lost
    /// A call that cannot be: a rank that is not there, a message of another kind than was expected.
    case misuse
  }

  public let kind: Kind
  public let message: Message
  /// The rank that the error is of, where it is of one.
  public let rank: Int?

  public init(_ kind: Kind, _ message: Message, rank: Int? = nil) {
    (self.kind, self.message, self.rank) = (kind, message, rank)
  }
}
