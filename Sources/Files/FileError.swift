/// Why a file cannot be read, in words for the person who named it.
public struct FileError: Error, Equatable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    case missing
    /// The file is there, and its content is not what it should be.
    case malformed
    /// The system refused: permissions, a failing device.
    case io
  }

  public let kind: Kind
  public let message: String

  public init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }

  public var description: String { message }
}
