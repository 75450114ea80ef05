public import Messages

/// Why something cannot be had of the hub or its cache, in words for the person who named it.
public struct HubError: MessageError, Equatable {
  public enum Kind: Sendable, Equatable {
    /// What was given is no name of a repository, no revision, no token.
    case usage
    /// libcurl is missing.
    case library
    /// There is no such repository, revision or file, or it is not shown to this user.
    case missing
    /// It wants an agreement or a token.
    case access
    /// No server answered, or it answered with errors until patience ended.
    case unreachable
    /// Nothing may be fetched, and the cache does not have it.
    case offline
    /// The server said something that cannot be right; nothing of it was used.
    case malformed
    /// The disk has no room.
    case space
  }

  public let kind: Kind
  public let message: Message

  init(_ kind: Kind, _ message: Message) {
    self.kind = kind
    self.message = message
  }
}
