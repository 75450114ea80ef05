/// Why files cannot be read or written, in words for the person who named them.
public struct FileError: Error, Equatable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    /// A directory, file or tensor that should be there is not.
    case missing
    /// The file is there, and its content is not what it should be; nothing of it was used.
    case malformed
    /// A format that is not read on purpose (pickles, GGUF).
    case unsupported
    /// The system refused: permissions, a full disk, a failing device.
    case io
    /// The output exists already and was left as it is.
    case exists
    /// Another live process is writing the same output.
    case busy
    /// What was written or asked for differs from the plan.
    case mismatch
  }

  public let kind: Kind
  public let message: String

  public init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }

  public var description: String { message }
}
