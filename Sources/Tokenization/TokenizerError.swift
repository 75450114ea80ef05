/// Why a tokenizer could not be loaded, or a text or id list not converted: one sentence for the person who
/// reads it, with the file and the place in it.
public struct TokenizerError: Error, CustomStringConvertible, Sendable, Equatable {
  public let message: String

  package init(_ message: String) { self.message = message }

  public var description: String { message }
}
